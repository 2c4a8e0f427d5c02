"""Cuts the network for a device out of a run that was trained with exits, or at smaller widths, and exports it.

    python -m odn_keras.specialize --run=runs/fashion --max_flash=256KB --max_arena=64KB --out=runs/fashion/sensor
    python -m odn_keras.specialize --run=runs/fashion --min_accuracy=0.88 --out=runs/fashion/small
    python -m odn_keras.specialize --run=runs/fashion --max_latency_ms=0.5 --out=runs/fashion/fast
    python -m odn_keras.specialize --run=runs/fashion --max_flash=64KB --finetune_epochs=4 --out=runs/fashion/watch
    python -m odn_keras.specialize --run=runs/fashion --frontier

Within limits it is the network that is most accurate on validation images; with --min_accuracy the one of the fewest
bytes that is accurate enough. Latency is predicted from a table that `odn_keras.latency` makes: the one that lies in
the run, or --latency. Nothing is trained, but for --finetune_epochs, in which the chosen network is trained on alone,
and may therefore be narrower than the run has trained it; the same command goes on where that was cut off.
Writes model.keras, specialize.json and what `odn_keras.export` writes. With --frontier: frontier.json and frontier.png,
and nothing is exported. Exit status: 0, 4 where the real file, its arena or its latency exceeds a limit (all is written
all the same), or 2 for bad input, such as limits that no network keeps.
"""

import dataclasses
import math
import pathlib
import shutil
import sys
import time
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.devices.latency_table import LatencyTable
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json
from odn_keras.networks.budget import Budget
from odn_keras.networks.footprint import parse_bytes
from odn_keras.runs import next_step
from odn_keras.runs.options import DataOptions, RunOptions
from odn_keras.runs.output_folder import CHECKPOINT, check_not_of_a_run
from odn_keras.runs.run_data import load_data
from odn_keras.runs.run_folder import (
    EXPORT,
    LATENCY,
    ROUTED,
    RunFolder,
    check_output,
    finished_supernet,
    in_use,
    output,
)

FRONTIER = "frontier"  # the folder in the run where it goes by default
FINETUNING = ".finetuning"  # the folder of checkpoints, while that goes on


def define_flags() -> None:
    cli.define_option_flags(DataOptions)
    flags.adopt_module_key_flags(cli)
    cli.define_path("run", None, "The folder of a finished run with --exits or --shrink_epochs.")
    cli.define_path("out", None, "Where the files go; with --frontier by default the folder frontier/ of the run.")
    flags.DEFINE_string("max_flash", None, "Bytes that the int8 file may have, as 256KB.")
    flags.DEFINE_string("max_arena", None, "Bytes of working memory it may need in TFLite Micro; likewise.")
    flags.DEFINE_integer("max_macs", None, "Multiply-accumulates of an image, at most.", lower_bound=1)
    flags.DEFINE_float("max_latency_ms", None, "Milliseconds of an image, at most, on what --latency was measured on.")
    cli.define_path("latency", None, "The table of latencies; default: latency.json in the run's folder.")
    flags.DEFINE_float("min_accuracy", None, "Validation accuracy to reach, with as few bytes as possible.")
    flags.DEFINE_integer(
        "finetune_epochs",
        0,
        "Epochs to train the chosen network on alone, by the run's recipe at 0.3 of its learning rate.",
        lower_bound=0,
    )
    flags.DEFINE_list("targets", None, "microcontroller, android or both, which is the default.")
    flags.DEFINE_boolean("frontier", False, "Show what accuracy costs how many bytes, instead of exporting one.")


def main() -> int:
    values = flags.FLAGS
    if not values.run:
        raise InputError("give --run, the folder of a finished run with --exits or --shrink_epochs")
    run = pathlib.Path(values.run)
    if not values.out and not values.frontier:
        raise InputError(f"give --out, a folder for the device's files, such as --out={run / 'sensor'}")
    out = pathlib.Path(values.out) if values.out else run / FRONTIER
    if values.min_accuracy is not None and not 0 < values.min_accuracy <= 1:
        raise InputError(f"--min_accuracy must be above 0 and at most 1, got {values.min_accuracy}")
    flash, arena = (None if limit is None else parse_bytes(limit) for limit in (values.max_flash, values.max_arena))
    latency = values.max_latency_ms
    if latency is not None and not 0 < latency < math.inf:
        raise InputError(f"--max_latency_ms must be above 0, got {latency}")
    if values.frontier == any(
        value is not None for value in (flash, arena, values.max_macs, latency, values.min_accuracy)
    ):
        raise InputError(
            "give limits (--max_flash, --max_arena, --max_macs, --max_latency_ms, --min_accuracy), or --frontier alone"
        )
    if values.latency is not None and latency is None and not values.frontier:
        raise InputError("--latency is for --max_latency_ms or --frontier: give one of them")
    if values.frontier and values.finetune_epochs:
        raise InputError("--finetune_epochs is for a network that is exported, not for --frontier: leave it out")
    with in_use(run):
        return _specialize(run, out, Budget(flash, arena, values.max_macs, latency))


def _specialize(run: pathlib.Path, out: pathlib.Path, limits: Budget) -> int:
    values = flags.FLAGS
    report = finished_supernet(run, "precision")
    latencies = _latencies(run)
    options = cli.data_options(report)
    check_output(out, options.dataset, *(["frontier.json"] if values.frontier else ["specialize.json", "export.json"]))
    check_not_of_a_run(out, EXPORT, ROUTED, CHECKPOINT)
    recipe = RunFolder(run).options() if values.finetune_epochs else None

    cli.import_keras()  # heavy: only once the flags are known to be good
    from odn_keras.deploy import bundle
    from odn_keras.devices.device_search import Specialization
    from odn_keras.networks import extraction
    from odn_keras.networks.architectures import NetworkSpec
    from odn_keras.runs.run_networks import load_supernet

    targets = () if values.frontier else values.targets  # of a frontier nothing is exported
    exporting: dict[str, Any] = {
        "targets": None if targets is None else tuple(targets),
        "vela": latencies.vela if latencies else None,
        # What the real file can be held against.
        "budget": limits if limits.max_flash or limits.max_arena or limits.max_latency_ms else None,
    }
    bundle.check_choices("int8", **exporting)
    network = load_supernet(run, report)
    cli.wake_backend()
    dataset = load_data(report, options, run)
    spec = NetworkSpec(**report["supernet"]["spec"])
    widths = report["supernet"]["widths"]
    if recipe and not widths:
        extraction.sort_channels(network, spec)
        widths = True
    search = Specialization(network, spec, dataset, widths=widths, latencies=latencies, progress=cli.show_step)
    if values.frontier:
        with output(out, options.dataset):
            return _frontier(search, run, out)
    began = time.perf_counter()
    found = search.best(limits) if values.min_accuracy is None else search.smallest(values.min_accuracy, limits)
    search_seconds = time.perf_counter() - began
    print(f"\nfound after {search_seconds:.0f} s", flush=True)
    if recipe:
        recipe = dataclasses.replace(recipe, **dataclasses.asdict(options))
    with output(out, options.dataset):
        if recipe:
            found = _finetuned(found, dataset, recipe, report["precision"], out)
        return _export(found, search_seconds, dataset, options, out, exporting, latencies)


def _latencies(run: pathlib.Path) -> LatencyTable | None:
    """The table that was given, or for a limit of latency the one that lies in the run."""
    values = flags.FLAGS
    if values.latency is not None:
        return LatencyTable.load(values.latency)
    if values.max_latency_ms is None:
        return None
    if not (run / LATENCY).exists():
        makes_one = next_step.command("latency", run=run)
        raise InputError(f"--max_latency_ms needs --latency, a table, and there is no {run / LATENCY}: {makes_one}")
    return LatencyTable.load(run / LATENCY)


def _finetuned(found, dataset, options: RunOptions, dtype: str, out: pathlib.Path):
    """The network trained on alone, from a checkpoint in the folder if there is one."""
    from odn_keras.devices.finetuning import finetuned
    from odn_keras.growing.divergence import TrainingDiverged
    from odn_keras.runs.run import recipe_of

    epochs, before = flags.FLAGS.finetune_epochs, found.val_accuracy
    print(f"\n== depth {found.choice.depth}, validation {before:.4f}: {epochs} epochs alone", flush=True)
    shown = 1 if sys.stdout.isatty() else 2
    recipe = recipe_of(options, dataset)
    try:
        found = finetuned(found, dataset, recipe, epochs, dtype=dtype, checkpoints=out / FINETUNING, verbose=shown)
    except TrainingDiverged as error:
        raise InputError(f"trained on alone, the network diverges: leave --finetune_epochs out ({error})") from error
    if not found.finetuning["kept"]:
        print(f"no epoch was better than {before:.4f}: the network stays as it was cut out")
    return found


def _export(
    found,
    search_seconds: float,
    dataset,
    options: DataOptions,
    out: pathlib.Path,
    exporting: dict[str, Any],
    latencies: LatencyTable | None,
) -> int:
    from odn_keras.deploy import bundle
    from odn_keras.networks.builder import with_dtype

    print(f"\ndepth {found.choice.depth}, inner channels {found.spec.inner}: validation {found.val_accuracy:.4f}")
    result = bundle.export(found.network, dataset, out, name=pathlib.Path(dataset.name).stem, **exporting)
    with replacing(out / "model.keras") as temporary:
        with_dtype(found.network, "float32").save(temporary)
    described = {**found.describe(), "search_seconds": round(search_seconds, 1), "finetuning": found.finetuning}
    write_json(described, out / "specialize.json")
    if found.finetuning:
        shutil.rmtree(out / FINETUNING)
    print(f"\n{bundle.table(result)}")
    if latencies:
        told, real = found.sizes["latency_ms"], result["budget"]["latency_ms"]
        print(
            f"latency: {told:.4g} ms by the table ({latencies.runtime}, {latencies.machine}), "
            f"{real:.4g} ms for the real file ({real / told - 1:+.1%})"
        )
    print()
    cli.show_files(out)
    evaluation = next_step.command("evaluate", tflite=out / bundle.MODEL, **next_step.data_flags(options))
    print(f"\nnext: {evaluation}")
    return cli.OVER_BUDGET if result["budget"] and result["budget"]["exceeded"] else 0


def _frontier(search, run: pathlib.Path, out: pathlib.Path) -> int:
    from odn_keras.devices.frontier import frontier_table, write_frontier

    points = [found.describe() for found in search.frontier()]
    files = write_frontier(points, out)
    print(f"\n{frontier_table(points)}\n")
    for file in files:
        print(f"  {file}")
    flash = points[len(points) // 2]["flash_bytes"]
    example = next_step.command("specialize", run=run, max_flash=flash, out=run / f"{flash}_bytes")
    print(f"\nnext, for the size of your device: {example}")
    return 0


if __name__ == "__main__":
    cli.run(main, define_flags)
