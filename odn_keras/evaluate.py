"""Measures a `.tflite` file on the test images of a dataset, in the runtime that is to run it.

    python -m odn_keras.evaluate --tflite=runs/mnist/model.tflite --dataset=mnist
    python -m odn_keras.evaluate --tflite=android.tflite --dataset=mnist --runtime=mediapipe
    python -m odn_keras.evaluate --tflite=model.tflite --runtime=serial --port=/dev/ttyACM0
    python -m odn_keras.evaluate --tflite=model.tflite --dataset=photos --report=evaluation

With --reject, or for a file exported with it, it also says how many answers are withheld for want of confidence, and
how often those that are given are right.

The images of a folder or a TFDS set are made as large as the file takes them, and grey where it takes one channel,
unless --image_size and --grayscale say otherwise.

tflite_runtime cannot live beside NumPy 2, nor mediapipe beside TensorFlow Model Optimization: docs/DEPLOYING.md says
how to install them. Exit status: 0, or 2 for bad input.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
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
    flags.DEFINE_string("tflite", None, "The file.")
    flags.DEFINE_enum("runtime", "litert", list(RUNTIMES), "What runs it.")
    flags.DEFINE_string("port", None, "With --runtime=serial: the port of the device, such as /dev/ttyACM0.")
    flags.DEFINE_integer("baud", None, "With --runtime=serial: its bits per second; default: 115200.", lower_bound=1)
    flags.DEFINE_float(
        "reject",
        None,
        "Accuracy to promise of the answers given, as 0.98: the confidence below which one is withheld is set on "
        "validation images. Default: that which the file has from odn_keras.export --reject, if any.",
    )
    cli.define_path("none_of_these", None, "A folder of images of no class, to see how many are withheld.")
    flags.DEFINE_integer("images", None, "Measure on the first so many test images; default: all.", lower_bound=1)
    cli.define_path(
        "report",
        None,
        "A folder for report.html (classes, confusions, mistakes) and evaluation.json; or a .json file.",
    )


def main() -> None:
    """Measures a file."""
    from odn_keras.deploy.runtimes import Measurement, open_classifier, timed
    from odn_keras.deploy.tflite_file.resize_metadata import resize_of
    from odn_keras.devices.withholding import check_promise, describe

    values = flags.FLAGS
    options = DataOptions(**cli.option_values(DataOptions))
    if not values.tflite:
        raise InputError("give --tflite, the file to measure")
    if values.reject is not None:
        check_promise(values.reject)
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
        _check_fit(path, classifier, dataset)
        none_of_these = _images_of_no_class(classifier, path)
        images, labels = (part[: values.images] for part in dataset.test)
        outputs, milliseconds = timed(classifier, images)
        probabilities = not (report or values.reject) or classifier.gives_probabilities()  # runs some images more
        reject = _reject(classifier, path, dataset, _Answered(outputs, labels, none_of_these, probabilities))
        remarks, details = classifier.remarks, classifier.details
    measured = Measurement.of(outputs, milliseconds, labels)
    print(
        f"{path} ({path.stat().st_size:,} bytes) in {values.runtime}\n"
        f"  accuracy  {measured.accuracy:.4f} of {measured.images:,} test images of {options.dataset}\n"
        f"  latency   {measured.median_ms:.3f} ms median, {measured.p95_ms:.3f} ms at the 95th percentile, "
        f"{classifier.timing}"
    )
    assumed = [f"assumed   {assumption}"] if assumption else []
    for line in [*remarks, *assumed, *describe(reject)]:
        print(f"  {line}")
    if report:
        from odn_keras.runs.report.evaluation import Evaluation

        evaluation = Evaluation(images, labels, dataset.class_names, {"file": outputs}, probabilities=probabilities)
        what = {"file": str(path), "bytes": path.stat().st_size, "runtime": values.runtime, "dataset": options.dataset}
        figures = {**what, **dataclasses.asdict(measured), "scores": evaluation.totals()["file"]}
        figures |= {"assumption": assumption, "reject": reject, **details}
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


def _check_fit(path: pathlib.Path, classifier, dataset) -> None:
    """Raises `InputError` where the dataset has other images or classes than the file."""
    from odn_keras.deploy.tflite_file.labels import check_classes, labels_of

    if dataset.num_classes != classifier.classes:
        raise InputError(f"{path} has {classifier.classes} classes, {dataset.name} has {dataset.num_classes}")
    if not classifier.accepts(dataset.input_shape):
        raise InputError(f"{path} takes images of {classifier.input_shape}, {dataset.name} has {dataset.input_shape}")
    check_classes(path, labels_of(path, classifier.classes), dataset.name, class_names=dataset.class_names)


@dataclasses.dataclass(frozen=True)
class _Answered:
    """What a classifier answers: to test images with labels, and to images of no class, if there are any."""

    outputs: np.ndarray
    labels: np.ndarray
    none_of_these: np.ndarray | None
    probabilities: bool


def _reject(classifier, path: pathlib.Path, dataset, answered: _Answered) -> dict[str, Any] | None:
    """Which answers are withheld, by --reject or by the file, and how many of these; `None` where none is.

    Raises:
        InputError: where the promise cannot be kept, or a flag has no meaning.
    """
    from odn_keras.deploy.tflite_file.reject_metadata import Reject, reject_of
    from odn_keras.devices.withholding import Withheld, withholding

    reject = reject_of(path)
    if (promised := flags.FLAGS.reject) is not None:
        if not answered.probabilities:
            raise InputError(f"--reject needs probabilities, the outputs of {path} are other scores")
        images, labels = dataset.validation
        reject = Reject(withholding(classifier.predict(images), labels, promised).least_confidence, promised)
    if reject is None:
        if answered.none_of_these is not None:
            raise InputError("--none_of_these shows how many are withheld: give --reject, or a file exported with it")
        return None
    least = reject.least_confidence
    test = dataclasses.asdict(Withheld.of(answered.outputs, least, answered.labels))
    others = None
    if answered.none_of_these is not None:
        others = dataclasses.asdict(Withheld.of(answered.none_of_these, least))
    return {**dataclasses.asdict(reject), "test": test, "none_of_these": others}


def _images_of_no_class(classifier, path: pathlib.Path) -> np.ndarray | None:
    """The outputs for the images of --none_of_these."""
    from odn_keras.data.folder import read_images_below
    from odn_keras.deploy.tflite_file.resize_metadata import resize_of

    folder = flags.FLAGS.none_of_these
    if not folder:
        return None
    return classifier.predict(read_images_below(pathlib.Path(folder), classifier.input_shape, resize_of(path)))


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
