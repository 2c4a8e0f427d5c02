"""Measures a `.tflite` file on the test images of a dataset, in the runtime that is to run it.

    python -m odn_keras.evaluate --tflite=runs/mnist/model.tflite --dataset=mnist
    python -m odn_keras.evaluate --tflite=runs/mnist/export/android.tflite --dataset=mnist --runtime=mediapipe
    python -m odn_keras.evaluate --tflite=runs/mnist/export/model.tflite --dataset=mnist --runtime=serial \
        --port=/dev/ttyACM0 --images=500

The images of a folder or a TFDS set are made as large as the file takes them, and grey where it takes one channel,
unless --image_size and --grayscale say otherwise.

tflite_runtime cannot live beside NumPy 2, nor mediapipe beside TensorFlow Model Optimization: docs/DEPLOYING.md says
how to install them. Exit status: 0, or 2 for bad input.
"""

import dataclasses
import os
import pathlib

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs.options import DataOptions


def define_flags() -> None:
    """Defines the flags of the command."""
    from odn_keras.deploy.runtimes import RUNTIMES

    cli.define_option_flags(DataOptions)
    flags.adopt_module_key_flags(cli)
    flags.DEFINE_string("tflite", None, "The file.")
    flags.DEFINE_enum("runtime", "litert", list(RUNTIMES), "What runs it.")
    flags.DEFINE_string("port", None, "With --runtime=serial: the port of the device, such as /dev/ttyACM0.")
    flags.DEFINE_integer("baud", None, "The same: its bits per second; default: 115200.", lower_bound=1)
    flags.DEFINE_integer("images", None, "Measure on the first so many test images; default: all.", lower_bound=1)
    flags.DEFINE_string("report", None, "A JSON file to write the measurement to.")


def main() -> None:
    """Measures a file."""
    from odn_keras.deploy.runtimes import measure, open_classifier
    from odn_keras.deploy.tflite_file.labels import check_classes, labels_of
    from odn_keras.deploy.tflite_file.resize_metadata import resize_of

    values = flags.FLAGS
    options = DataOptions(**cli.option_values(DataOptions))
    if not values.tflite:
        raise InputError("give --tflite, the file to measure")
    path = pathlib.Path(os.path.expanduser(values.tflite))
    report = pathlib.Path(os.path.expanduser(values.report)) if values.report else None
    if report and not report.parent.is_dir():
        raise InputError(f"--report cannot be written: there is no folder {report.parent}")
    if report and report.is_dir():
        raise InputError(f"--report must be a file, {report} is a folder")
    line = {name: values[name].value for name in ("port", "baud") if values[name].value is not None}
    if values.runtime == "serial" and not values.port:
        raise InputError("--runtime=serial needs --port, such as /dev/ttyACM0")
    if values.runtime != "serial" and line:
        raise InputError("--port and --baud are for --runtime=serial")
    with open_classifier(path, values.runtime, **line) as classifier:
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
        measured = measure(classifier, images[: values.images], labels[: values.images])
        remarks, details = classifier.remarks, classifier.details
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
        what = {"file": str(path), "bytes": path.stat().st_size, "runtime": values.runtime, "dataset": options.dataset}
        write_json({**what, **dataclasses.asdict(measured), "assumption": assumption, **details}, report)


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
