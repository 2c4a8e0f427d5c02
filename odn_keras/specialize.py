"""Cuts the network for a device out of a run that was trained with exits, or at smaller widths, and exports it.

    python -m odn_keras.specialize --run=runs/fashion --max_flash=256KB --out=sensor
    python -m odn_keras.specialize --run=runs/fashion --device=pico --out=board
    python -m odn_keras.specialize --run=runs/fashion --min_accuracy=0.88 --out=small
    python -m odn_keras.specialize --run=runs/fashion --max_latency_ms=2 --out=fast
    python -m odn_keras.specialize --run=runs/x --max_flash=64KB --finetune_epochs=4 --out=watch
    python -m odn_keras.specialize --run=runs/fashion --frontier

Within limits the command takes the network that is most accurate on validation images; with --min_accuracy the smallest
one that is accurate enough. Latency is predicted for a --device whose processor is known (--device=list), else from a
table that `odn_keras.latency` makes: the one in the run's folder, or --latency. Only --finetune_epochs trains: it
fine-tunes the chosen network, which may then be narrower than the run has trained it. If that is interrupted, the same
command resumes it.
Writes model.keras, specialize.json and what `odn_keras.export` writes. With --frontier: frontier.json, frontier.png and
report.html, and nothing is exported. Exit status: 0, 4 where the real file, its arena or its latency exceeds a limit
(all files are written nevertheless), or 2 for bad input, such as limits that no network keeps.
"""

import dataclasses
import pathlib
import sys
import time

from absl import flags

from odn_keras import cli
from odn_keras.devices.latency_table import LatencyTable
from odn_keras.errors import InputError
from odn_keras.networks.budget import Budget
from odn_keras.runs import next_step
from odn_keras.runs.finished_run import finished_supernet, in_use
from odn_keras.runs.options import DataOptions, RunOptions
from odn_keras.runs.output_folder import check_not_of_a_run, check_output, output
from odn_keras.runs.run_data import load_data
from odn_keras.runs.run_files import CHECKPOINT, EXPORT, LATENCY, PAGE, ROUTED
from odn_keras.runs.run_folder import RunFolder

FRONTIER = "frontier"  # the folder in the run where it goes by default


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_option_flags(DataOptions)
    cli.define_path("run", None, "The folder of a finished run with --exits or --shrink_epochs.")
    cli.define_path("out", None, "Where the files go; with --frontier by default the folder frontier/ of the run.")
    flags.DEFINE_string("max_flash", None, "Bytes that the int8 file may have, as 256KB.")
    flags.DEFINE_string("max_arena", None, "Bytes of working memory it may need in TFLite Micro, as 64KB.")
    flags.DEFINE_integer("max_macs", None, "Multiply-accumulates of an image, at most.", lower_bound=1)
    flags.DEFINE_float(
        "max_latency_ms", None, "Milliseconds of an image, at most: on what --latency was measured on, or on --device."
    )
    cli.define_device_flags()
    cli.define_path("latency", None, "The table of latencies; default: latency.json in the run's folder.")
    flags.DEFINE_float("min_accuracy", None, "Validation accuracy to reach, with as few bytes as possible.")
    flags.DEFINE_integer(
        "finetune_epochs",
        0,
        "Epochs to fine-tune the chosen network, by the run's recipe at 0.3 of its learning rate.",
        lower_bound=0,
    )
    flags.DEFINE_list("targets", None, "microcontroller, android or both, which is the default.")
    flags.DEFINE_boolean("frontier", False, "Show which accuracy needs how many bytes, instead of exporting a network.")


def main() -> int:
    """Finds and exports the network for a device, or writes the frontier; returns the exit status."""
    values = flags.FLAGS
    if cli.lists_devices():
        return 0
    if not values.run:
        raise InputError("give --run, the folder of a finished run with --exits or --shrink_epochs")
    run = pathlib.Path(values.run)
    if not values.out and not values.frontier:
        raise InputError(f"give --out, a folder for the device's files, such as --out={run / 'sensor'}")
    limits = _checked_limits()
    with in_use(run):
        return _specialize(run, pathlib.Path(values.out) if values.out else run / FRONTIER, limits)


def _checked_limits() -> Budget:
    """The limits that the flags give; checks the flags that go with them."""
    values = flags.FLAGS
    if values.min_accuracy is not None and not 0 < values.min_accuracy <= 1:
        raise InputError(f"--min_accuracy must be above 0 and at most 1, got {values.min_accuracy}")
    limits = cli.wanted_device().budget()
    latency = limits.max_latency_ms
    if values.frontier == (bool(limits.limits) or values.min_accuracy is not None):
        raise InputError(
            "give limits (--device, --max_flash, --max_arena, --max_macs, --max_latency_ms, --min_accuracy), or "
            "--frontier alone"
        )
    if values.latency is not None and latency is None and not values.frontier:
        raise InputError("--latency is for --max_latency_ms or --frontier: give one of them")
    if values.frontier and values.finetune_epochs:
        raise InputError("--finetune_epochs is for a network that is exported, not for --frontier: leave it out")
    return limits


def _specialize(run: pathlib.Path, out: pathlib.Path, limits: Budget) -> int:
    """Searches the network of a run; exports what it finds, or writes the frontier. Returns the exit status."""
    values = flags.FLAGS
    report = finished_supernet(run, "precision")
    latencies = _latencies(run, limits)
    options = cli.data_options(report)
    check_output(out, options.dataset, *(["frontier.json"] if values.frontier else ["specialize.json", "export.json"]))
    check_not_of_a_run(out, EXPORT, ROUTED, CHECKPOINT)
    run_options = RunFolder(run).options() if values.finetune_epochs else None

    cli.import_keras()  # heavy: only once the flags are known to be good
    from odn_keras.runs import device_network
    from odn_keras.runs.run_networks import load_supernet

    choices = _export_choices(limits, latencies)
    network = load_supernet(run, report)
    cli.wake_backend()
    dataset = load_data(report, options, run)
    search = device_network.open_search(
        network,
        report["supernet"],
        dataset,
        narrow=run_options is not None,
        latencies=latencies,
        runs_on=limits,
        progress=cli.show_step,
    )
    if values.frontier:
        with output(out, options.dataset):
            return _frontier(search, run, out)
    began = time.perf_counter()
    found = search.best(limits) if values.min_accuracy is None else search.smallest(values.min_accuracy, limits)
    seconds = time.perf_counter() - began
    print(f"\nfound after {seconds:.0f} s", flush=True)
    with output(out, options.dataset):
        if run_options:
            run_options = dataclasses.replace(run_options, **dataclasses.asdict(options))
            found = _finetuned(found, dataset, run_options, dtype=report["precision"], out=out)
        print(f"\ndepth {found.choice.depth}, inner channels {found.spec.inner}: validation {found.val_accuracy:.4f}")
        result = device_network.export(found, dataset, out, choices=choices, search_seconds=seconds)
        _show(result, found, latencies, out=out, options=options)
    return cli.OVER_BUDGET if result["budget"] and result["budget"]["exceeded"] else 0


def _export_choices(limits: Budget, latencies: LatencyTable | None):
    """The checked choices of the export; a frontier exports nothing."""
    from odn_keras.deploy.export_choices import ExportChoices

    board = cli.wanted_device().board
    targets = () if flags.FLAGS.frontier else flags.FLAGS.targets
    choices = ExportChoices(
        targets=None if targets is None else tuple(targets),
        vela=(latencies.vela if latencies else None) or (board.vela if board else None),
        # What the real file can be compared with.
        budget=limits if limits.max_flash or limits.max_arena or limits.max_latency_ms else None,
    )
    choices.check()
    return choices


def _latencies(run: pathlib.Path, limits: Budget) -> LatencyTable | None:
    """The table of --latency; for a limit that no device predicts, by default that in the folder of the run."""
    values = flags.FLAGS
    if values.latency is not None:
        return LatencyTable.load(values.latency)
    if limits.max_latency_ms is None or (limits.room and limits.room.instructions_per_ms):
        return None
    if not (run / LATENCY).exists():
        makes_one = next_step.command("latency", run=run)
        raise InputError(f"--max_latency_ms needs --latency, a table, and there is no {run / LATENCY}: {makes_one}")
    return LatencyTable.load(run / LATENCY)


def _finetuned(found, dataset, options: RunOptions, dtype: str, *, out: pathlib.Path):
    """The network fine-tuned, or as it was cut out where that is more accurate."""
    from odn_keras.runs.device_network import finetune

    epochs, before = flags.FLAGS.finetune_epochs, found.val_accuracy
    print(f"\n== depth {found.choice.depth}, validation {before:.4f}: {epochs} epochs alone", flush=True)
    shown = 1 if sys.stdout.isatty() else 2
    found = finetune(found, dataset, options, epochs=epochs, dtype=dtype, out=out, verbose=shown)
    if not found.finetuning["kept"]:
        print(f"no epoch was better than {before:.4f}: the network stays as it was cut out")
    return found


def _show(result, found, latencies: LatencyTable | None, *, out: pathlib.Path, options: DataOptions) -> None:
    """Prints what was exported, and the command that comes next."""
    from odn_keras.deploy import bundle

    print(f"\n{bundle.table(result)}")
    if latencies:
        predicted, real = found.sizes["latency_ms"], result["budget"]["latency_ms"]
        print(
            f"latency: {predicted:.4g} ms by the table ({latencies.runtime}, {latencies.machine}), "
            f"{real:.4g} ms for the real file ({real / predicted - 1:+.1%})"
        )
    print()
    cli.show_files(out)
    evaluation = next_step.command("evaluate", tflite=out / bundle.MODEL, **next_step.data_flags(options))
    print(f"\nnext: {evaluation}")


def _frontier(search, run: pathlib.Path, out: pathlib.Path) -> int:
    from odn_keras.devices.frontier import frontier_table, write_frontier
    from odn_keras.runs.report.frontier_page import write_frontier_page

    points = [found.describe() for found in search.frontier()]
    files = write_frontier(points, out)
    print(f"\n{frontier_table(points)}\n")
    flash = points[len(points) // 2]["flash_bytes"]
    example = next_step.command("specialize", run=run, max_flash=flash, out=run / f"{flash}_bytes")
    write_frontier_page(points, str(run), example, files[-1])
    for file in (*files, out / PAGE):
        print(f"  {file}")
    print(f"\nnext, for the size of your device: {example}")
    return 0


if __name__ == "__main__":
    cli.run(main, define_flags)
