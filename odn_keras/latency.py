"""Measures how long the parts of a run's network take, so that `odn_keras.specialize` can keep a limit of latency.

    python -m odn_keras.latency --run=runs/fashion --out=latency.json
    python -m odn_keras.latency --run=runs/fashion --vela=ethos-u55-128 --out=ethos.json

The stem, the heads and the blocks (at 25, 50, 75 and 100 % of their width) become int8 files with random weights. They
are measured by turns in LiteRT on one thread of this machine, or with --vela estimated by Vela. Whole networks are
measured as well, to check that the parts add up. Exit status: 0, or 2 for bad input.
"""

import dataclasses
import math
import pathlib
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.devices.latency_table import LatencyTable
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs import next_step
from odn_keras.runs.finished_run import finished_supernet, in_use
from odn_keras.runs.run_files import LATENCY


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_path("run", None, "The folder of a finished run with --exits or --shrink_epochs.")
    cli.define_path("out", None, "The table's file; default: latency.json in the run's folder.")
    flags.DEFINE_string("vela", None, "Estimate for an Ethos-U instead, such as ethos-u55-128.")
    flags.DEFINE_float("seconds", 20.0, "How long to measure, all parts together.")


def main() -> None:
    """Measures the parts of a network."""
    values = flags.FLAGS
    if not values.run:
        raise InputError("give --run, the folder of a finished run")
    if not 0 < values.seconds < math.inf:
        raise InputError(f"--seconds must be above 0, got {values.seconds}")
    out = pathlib.Path(values.out) if values.out else pathlib.Path(values.run, LATENCY)
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"--out must be a file in a folder that exists, got {out}")
    if values.out and out.exists():
        LatencyTable.load(out)  # raises unless it is a table, as only a table is replaced
    with in_use(values.run):
        _measure(finished_supernet(values.run), out)


def _measure(report: dict[str, Any], out: pathlib.Path) -> None:
    values = flags.FLAGS
    cli.import_keras()  # heavy: only once the flags are known to be good
    from odn_keras.deploy.latency_measurement import describe, measure_table
    from odn_keras.networks.architectures import NetworkSpec

    cli.wake_backend()
    supernet, depth = report["supernet"], report["depth"]
    table, checks = measure_table(
        NetworkSpec(**supernet["spec"]),
        depth,
        vela=values.vela,
        seconds=values.seconds,
        progress=cli.show_step,
    )
    print(f"\n{describe(table, checks, depth)}")
    write_json({**dataclasses.asdict(table), "checks": [dataclasses.asdict(check) for check in checks]}, out)
    print(f"a whole network is taken to need {table.factor:.3f} times the sum\n\n  {out}")
    print(f"\nnext: {next_step.command('specialize', run=values.run, latency=out, frontier=True)}")


if __name__ == "__main__":
    cli.run(main, define_flags)
