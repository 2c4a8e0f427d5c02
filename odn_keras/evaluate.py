"""Measures a `.tflite` file on the test images of a dataset, in the runtime that is to run it.

    python -m odn_keras.evaluate --tflite=runs/mnist/model.tflite --dataset=mnist
    python -m odn_keras.evaluate --tflite=android.tflite --dataset=mnist --runtime=mediapipe
    python -m odn_keras.evaluate --tflite=model.tflite --runtime=serial --port=/dev/ttyACM0
    python -m odn_keras.evaluate --tflite=model.tflite --dataset=photos --report=evaluation

The images of a folder or a TFDS set are made as large as the file takes them, and grey where it takes one channel,
unless --image_size and --grayscale say otherwise.

tflite_runtime cannot live beside NumPy 2, nor mediapipe beside TensorFlow Model Optimization: docs/DEPLOYING.md says
how to install them. Exit status: 0, or 2 for bad input.
"""

import dataclasses
import os
import pathlib
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs import next_step
from odn_keras.runs.options import DataOptions
from odn_keras.runs.output_folder import check_output, output
from odn_keras.runs.run_files import EVALUATION, PAGE


def define_flags() -> None:
    """Defines the flags of the command."""
    from odn_keras.deploy.runtimes import RUNTIMES

    cli.define_option_flags(DataOptions)
    flags.adopt_module_key_flags(cli)
    flags.DEFINE_string("tflite", None, "The file.")
    flags.DEFINE_enum("runtime", "litert", list(RUNTIMES), "What runs it.")
    flags.DEFINE_string("port", None, "With --runtime=serial: the port of the device, such as /dev/ttyACM0.")
    flags.DEFINE_integer("baud", None, "With --runtime=serial: its bits per second; default: 115200.", lower_bound=1)
    flags.DEFINE_integer("images", None, "Measure on the first so many test images; default: all.", lower_bound=1)
    cli.define_path(
        "report",
        None,
        "A folder for report.html (classes, confusions, mistakes) and evaluation.json; or a .json file.",
    )


def main() -> None:
    """Measures a file."""
    from odn_keras.deploy.runtimes import Measurement, open_classifier, timed
    from odn_keras.deploy.tflite_file.labels import check_classes, labels_of
    from odn_keras.deploy.tflite_file.resize_metadata import resize_of

    values = flags.FLAGS
    options = DataOptions(**cli.option_values(DataOptions))
    if not values.tflite:
        raise InputError("give --tflite, the file to measure")
    path = pathlib.Path(os.path.expanduser(values.tflite))
    report = pathlib.Path(values.report) if values.report else None
    as_page = report is not None and report.suffix.lower() != ".json"
    if report and as_page:
        check_output(report, options.dataset, EVALUATION, flag="--report")
    elif report and not report.parent.is_dir():
        raise InputError(f"--report cannot be written: there is no folder {report.parent}")
    elif report and report.is_dir():
        raise InputError(f"--report must be a file, {report} is a folder")
    with open_classifier(path, values.runtime, **_line(values)) as classifier:
        assumption = classifier.assumption  # where the file takes no pixels this says so, before they are read
        dataset = _load(options, classifier.input_shape, resize_of(path))
        images, labels = dataset.test
        if dataset.num_classes != classifier.classes:
            raise InputError(f"{path} has {classifier.classes} classes, {options.dataset} has {dataset.num_classes}")
        if not classifier.accepts(dataset.input_shape):
            raise InputError(
                f"{path} takes images of {classifier.input_shape}, {options.dataset} has {dataset.input_shape}"
            )
        check_classes(path, labels_of(path, classifier.classes), options.dataset, class_names=dataset.class_names)
        images, labels = images[: values.images], labels[: values.images]
        outputs, milliseconds = timed(classifier, images)
        probabilities = classifier.gives_probabilities() if report else True
        remarks, details = classifier.remarks, classifier.details
    measured = Measurement.of(outputs, milliseconds, labels)
    print(
        f"{path} ({path.stat().st_size:,} bytes) in {values.runtime}\n"
        f"  accuracy  {measured.accuracy:.4f} of {measured.images:,} test images of {options.dataset}\n"
        f"  latency   {measured.median_ms:.3f} ms median, {measured.p95_ms:.3f} ms at the 95th percentile, "
        f"{classifier.timing}"
    )
    for remark in remarks:
        print(f"  {remark}")
    if assumption:
        print(f"  assumed   {assumption}")
    if report:
        from odn_keras.runs.report.evaluation import Evaluation

        evaluation = Evaluation(images, labels, dataset.class_names, {"file": outputs}, probabilities=probabilities)
        what = {"file": str(path), "bytes": path.stat().st_size, "runtime": values.runtime, "dataset": options.dataset}
        figures = {
            **what,
            **dataclasses.asdict(measured),
            "scores": evaluation.totals()["file"],
            "assumption": assumption,
            **details,
        }
        if as_page:
            _write_page(figures, evaluation, report, options)
        else:
            write_json(figures, report)


def _line(values: flags.FlagValues) -> dict[str, Any]:
    """Where the device is, for the runtime that needs it."""
    line = {name: values[name].value for name in ("port", "baud") if values[name].value is not None}
    if values.runtime == "serial" and not values.port:
        raise InputError("--runtime=serial needs --port, such as /dev/ttyACM0")
    if values.runtime != "serial" and line:
        raise InputError("--port and --baud are for --runtime=serial")
    return line


def _write_page(figures: dict[str, Any], evaluation, report: pathlib.Path, options: DataOptions) -> None:
    """Writes `report.html` and `evaluation.json` into a folder."""
    from odn_keras.runs.report.file_page import write_file_page

    with output(report, options.dataset, flag="--report"):
        write_file_page(figures, evaluation, [next_step.classification(figures["file"])], report / PAGE)
        write_json(figures, report / EVALUATION)
    for name in (PAGE, EVALUATION):
        print(f"  {report / name}")


def _load(options: DataOptions, shape: tuple[int, ...], resize: str):
    """Loads the dataset with images of the file's size and channels, unless the flags ask for others."""
    from odn_keras.data.datasets import load_dataset

    arguments = dataclasses.asdict(options)
    name, size = arguments.pop("dataset"), arguments.pop("image_size")
    image_size = size
    if flags.FLAGS["resize"].present and options.resize != resize:
        raise InputError(f"the file takes images resized by {resize}, not {options.resize}: leave --resize out")
    if name != "digits" and not name.lower().endswith(".npz"):
        image_size, arguments["resize"] = size or (shape[0], shape[1]), resize
        if not flags.FLAGS["grayscale"].present:
            arguments["grayscale"] = shape[2] == 1
    return load_dataset(name, image_size=image_size, **arguments)


if __name__ == "__main__":
    cli.run(main, define_flags)
