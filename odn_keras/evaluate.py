"""Measures a `.tflite` file on the test images of a dataset, in the runtime that is to run it.

    python -m odn_keras.evaluate --tflite=runs/mnist/model.tflite --dataset=mnist
    python -m odn_keras.evaluate --tflite=runs/mnist/export/android.tflite --dataset=mnist --runtime=mediapipe

tflite_runtime cannot live beside NumPy 2, nor mediapipe beside TensorFlow Model Optimization: docs/DEPLOYING.md says
how to install them. Exit status: 0, or 2 for bad input.
"""

import dataclasses
import pathlib

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.options import DataOptions


def define_flags() -> None:
    from odn_keras.deploy.runtimes import RUNTIMES

    cli.define_option_flags(DataOptions)
    flags.adopt_module_key_flags(cli)
    flags.DEFINE_string("tflite", None, "The file.")
    flags.DEFINE_enum("runtime", "litert", list(RUNTIMES), "What runs it.")
    flags.DEFINE_integer("images", None, "Measure on the first so many test images; default: all.", lower_bound=1)
    flags.DEFINE_string("report", None, "A JSON file to write the measurement to.")


def main() -> None:
    from odn_keras import data
    from odn_keras.deploy.runtimes import measure, open_classifier

    values = flags.FLAGS
    options = DataOptions(**cli.option_values(DataOptions))
    if not values.tflite:
        raise InputError("give --tflite, the file to measure")
    path = pathlib.Path(values.tflite)
    if values.report and not pathlib.Path(values.report).parent.is_dir():
        raise InputError(f"--report cannot be written: there is no folder {pathlib.Path(values.report).parent}")
    if values.report and pathlib.Path(values.report).is_dir():
        raise InputError(f"--report must be a file, {values.report} is a folder")
    with open_classifier(path, values.runtime) as classifier:
        dataset = data.load(options)
        images, labels = dataset.test
        if dataset.num_classes != classifier.classes:
            raise InputError(f"{path} has {classifier.classes} classes, {options.dataset} has {dataset.num_classes}")
        if not classifier.accepts(dataset.input_shape):
            raise InputError(
                f"{path} takes images of {classifier.input_shape}, {options.dataset} has {dataset.input_shape}"
            )
        measured = measure(classifier, images[: values.images], labels[: values.images])
    print(
        f"{path} ({path.stat().st_size:,} bytes) in {values.runtime}\n"
        f"  accuracy  {measured.accuracy:.4f} of {measured.images:,} test images of {options.dataset}\n"
        f"  latency   {measured.median_ms:.3f} ms median, {measured.p95_ms:.3f} ms at the 95th percentile, one thread"
    )
    if values.report:
        what = {"file": str(path), "bytes": path.stat().st_size, "runtime": values.runtime, "dataset": options.dataset}
        write_json({**what, **dataclasses.asdict(measured)}, values.report)


if __name__ == "__main__":
    cli.run(main, define_flags)
