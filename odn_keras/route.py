"""Turns a network with exits into int8 files that an image goes through only as far as it needs.

    python -m odn_keras.route --run=runs/fashion --max_accuracy_drop=0.005
    python -m odn_keras.route --model=supernet.keras --dataset=fashion_mnist --out=routed

Writes stage1.tflite, stage2.tflite ..., routing.json with the thresholds and all that was measured, labels.txt,
routing.png: where images leave, and report.html. For a microcontroller's program: routing.h, and each stage as C++,
stage1.cc and stage1.h ..., with its arena where tflite-micro is installed. Thresholds are set on validation images, on
the int8 files' own answers; test images are used once, at the end. Exit status: 0, or 2 for bad input.
"""

import pathlib
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.runs import next_step
from odn_keras.runs.finished_run import finished_report, in_use
from odn_keras.runs.options import DataOptions
from odn_keras.runs.output_folder import check_not_of_a_run, check_output, output
from odn_keras.runs.run_data import load_by_options, load_data
from odn_keras.runs.run_files import CHECKPOINT, EXPORT, ROUTED, SUPERNET


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_option_flags(DataOptions)
    cli.define_path("run", None, "The folder of a finished run with --exits, with its dataset.")
    cli.define_path("model", None, "A .keras file with exits instead, and the dataset flags.")
    cli.define_path("out", None, "Where the files go; default: the folder routed/ of the run, or beside the model.")
    flags.DEFINE_float("max_accuracy_drop", 0.005, "Accuracy that routing may lose against the network's end.")


def main() -> None:
    """Writes and measures a routed network."""
    values = flags.FLAGS
    if bool(values.run) == bool(values.model):
        raise InputError("give --run, the folder of a finished run, or --model, a .keras file with exits")
    if not 0 <= values.max_accuracy_drop <= 1:
        raise InputError(f"--max_accuracy_drop must be a fraction from 0 to 1, got {values.max_accuracy_drop}")
    if not values.run:
        return _route(pathlib.Path(values.model), None)
    with in_use(values.run):
        return _route(pathlib.Path(values.run, SUPERNET), finished_report(values.run))


def _route(model: pathlib.Path, report: dict[str, Any] | None) -> None:
    """Routes a model: that of a finished run, which has a report, with the data of the run."""
    values = flags.FLAGS
    options = cli.data_options(report) if report else DataOptions(**cli.option_values(DataOptions))
    out = pathlib.Path(values.out) if values.out else model.parent / ROUTED
    check_output(out, options.dataset, "routing.json")
    check_not_of_a_run(out, EXPORT, CHECKPOINT)
    cli.import_keras()
    from odn_keras.deploy.chain.chain_bundle import export_routed
    from odn_keras.deploy.chain.chain_table import table
    from odn_keras.deploy.chain.exit_chain import WITHOUT_EXITS
    from odn_keras.networks.builder import load
    from odn_keras.runs.report.routing_page import write_routing_page
    from odn_keras.runs.run_networks import load_supernet

    if report and not model.exists():
        raise InputError(f"{values.run}: {WITHOUT_EXITS}")
    network = load_supernet(model.parent, report) if report and report.get("supernet") else load(model)
    cli.wake_backend()
    dataset = load_data(report, options, model.parent) if report else load_by_options(options)
    with output(out, options.dataset):
        result = export_routed(network, dataset, out, max_accuracy_drop=values.max_accuracy_drop)
        measuring = next_step.evaluation_of_chain(out, options)
        write_routing_page(result, measuring, out)
        print(f"\n{table(result)}\n")
        cli.show_files(out)
    print(f"\nnext: {measuring}")


if __name__ == "__main__":
    cli.run(main, define_flags)
