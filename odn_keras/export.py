"""Turns a finished run into the files that devices load, and measures each where it will run.

    python -m odn_keras.export --run=runs/mnist
    python -m odn_keras.export --run=runs/mnist --quantize=qat --vela=ethos-u55-128
    python -m odn_keras.export --run=runs/mnist --max_flash=256KB --max_arena=64KB
    python -m odn_keras.export --run=runs/mnist --reject=0.999
    python -m odn_keras.export --run=runs/mnist --device=nucleo_f446re
    python -m odn_keras.export --device=list
    python -m odn_keras.export --model=my.keras --dataset=path/to/images --out=exported

Writes model.tflite, labels.txt and export.json; for an integer file also model.cc and model.h for TFLite Micro, with
the arena measured, and android.tflite for Android and the browser. Exit status: 0, 4 where model.tflite, its arena or
its predicted time exceeds a limit of the device or of the --max_ options (all files are written nevertheless), or 2 for
bad input.
"""

import pathlib
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.runs import next_step
from odn_keras.runs.finished_run import finished_report, in_use
from odn_keras.runs.options import DataOptions
from odn_keras.runs.output_folder import check_output, output
from odn_keras.runs.run_data import load_by_options, load_data
from odn_keras.runs.run_files import EXPORT


def define_flags() -> None:
    """Defines the flags of the command."""
    cli.define_option_flags(DataOptions)
    cli.define_path("run", None, "The folder of a finished run, with its dataset.")
    cli.define_path("model", None, "A .keras file instead, and the dataset flags.")
    cli.define_path("out", None, "Where the files go; default: the folder export/ of the run, or beside the model.")
    flags.DEFINE_string("quantize", "int8", "int8, qat (quantisation-aware training), float16, dynamic or none.")
    flags.DEFINE_list("targets", None, "microcontroller, android or both; default: all that --quantize allows.")
    flags.DEFINE_string("vela", None, "Compile for an Ethos-U too, such as ethos-u55-128.")
    cli.define_device_flags()

    flags.DEFINE_float(
        "reject",
        None,
        "Accuracy to promise of the answers given, as 0.98: the files say below which confidence one is withheld.",
    )
    flags.DEFINE_string("max_flash", None, "Bytes that model.tflite may have, as 256KB.")
    flags.DEFINE_string("max_arena", None, "Bytes of working memory it may need in TFLite Micro, as 64KB.")
    flags.DEFINE_float("max_latency_ms", None, "Milliseconds an image may take on the --device, as predicted.")


def main() -> int:
    """Exports a network; returns the exit status."""
    values = flags.FLAGS
    if cli.lists_devices():
        return 0
    if bool(values.run) == bool(values.model):
        raise InputError("give --run, the folder of a finished run, or --model, a .keras file")
    if not values.run:
        return _export(pathlib.Path(values.model), None)
    with in_use(values.run):
        return _export(pathlib.Path(values.run, "model.keras"), finished_report(values.run))


def _export(model: pathlib.Path, report: dict[str, Any] | None) -> int:
    """Exports a model: that of a finished run, which has a report, with the data of the run."""
    values = flags.FLAGS
    options = cli.data_options(report) if report else DataOptions(**cli.option_values(DataOptions))
    out = pathlib.Path(values.out) if values.out else model.parent / EXPORT
    wanted = cli.wanted_device()
    budget = wanted.budget()
    vela = values.vela or (wanted.board.vela if wanted.board else None)
    if budget.max_latency_ms is not None and not vela:
        budget = wanted.predicting_budget()
    check_output(out, options.dataset, "export.json")

    cli.import_keras()  # heavy: only once the flags are known to be good
    from odn_keras.deploy import bundle
    from odn_keras.deploy.export_choices import ExportChoices
    from odn_keras.networks.builder import load
    from odn_keras.runs.run_networks import load_model

    targets = None if values.targets is None else tuple(values.targets)
    choices = ExportChoices(quantize=values.quantize, targets=targets, vela=vela, budget=budget, reject=values.reject)
    choices.check()
    network = load_model(model.parent, report) if report else load(model)
    cli.wake_backend()
    dataset = load_data(report, options, model.parent) if report else load_by_options(options)
    with output(out, options.dataset):
        result = bundle.export(network, dataset, out, choices=choices, name=pathlib.Path(options.dataset).stem)
        print(f"\n{bundle.table(result)}\n")
        cli.show_files(out)
    measuring = next_step.command("evaluate", tflite=out / bundle.MODEL, **next_step.data_flags(options))
    print(f"\nnext: {measuring}")
    return cli.OVER_BUDGET if result["budget"] and result["budget"]["exceeded"] else 0


if __name__ == "__main__":
    cli.run(main, define_flags)
