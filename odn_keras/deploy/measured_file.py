"""Writes a `.tflite` file of a network, measures it in LiteRT on test images, compares it with a budget."""

import dataclasses
import importlib.util
import pathlib
from typing import Any

import keras
import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.deploy.convert import fidelity
from odn_keras.deploy.convert.exportable import unwrapped
from odn_keras.deploy.convert.qat import export_qat
from odn_keras.deploy.convert.tflite import CALIBRATION_IMAGES, export_tflite, input_range
from odn_keras.deploy.feeding import Quantization
from odn_keras.deploy.latency_measurement import measure_latencies
from odn_keras.deploy.micro.cmsis_nn import arena_with_cmsis_nn
from odn_keras.deploy.micro.instructions import instructions_of
from odn_keras.deploy.micro.tflite_micro import measure_arena
from odn_keras.deploy.runtimes import LiteRTClassifier, Measurement, timed
from odn_keras.deploy.tflite_file.resize_metadata import write_resize
from odn_keras.networks.budget import Budget
from odn_keras.networks.kernels import CMSIS_NN


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """A file, and its measurements in LiteRT.

    Attributes:
        path: where it is.
        bytes: its size.
        feed: how pixels go in, for people.
        probabilities: True where the outputs are probabilities, not other scores.
        input_error: the largest error of the pixels fed, in quantisation steps; `None` for a float file.
        input: quantisation of the input; of a float file it means nothing.
        output: quantisation of the output; the same.
        measurement: accuracy and latency on the test images.
        float_accuracy: that of the float network on them.
        difference: of the file's outputs from the float network's on the first of them: the mean of the largest of an
            image's (see `odn_keras.deploy.convert.fidelity`).
        answers: the file's outputs for the test images, float32 (n, classes).
        float_answers: the same of the float network.
    """

    path: pathlib.Path
    bytes: int
    feed: str
    probabilities: bool
    input_error: float | None
    input: Quantization
    output: Quantization
    measurement: Measurement
    float_accuracy: float
    difference: float
    answers: np.ndarray = dataclasses.field(repr=False)
    float_answers: np.ndarray = dataclasses.field(repr=False)

    def against(
        self, budget: Budget | None, arena: int | None = None, latency_ms: float | None = None
    ) -> dict[str, Any] | None:
        """Compares the file with a budget: see `Budget.measured`; `None` where there is no budget.

        Args:
            budget: the limits.
            arena: bytes of its arena with TFLite Micro's portable kernels, where that is measured already; otherwise it
                is measured where it is limited and TFLite Micro is installed.
            latency_ms: milliseconds of an image, where they are known already; otherwise they are predicted for the
                device of the budget or, where it has none, measured in LiteRT where they are limited.
        """
        if budget is None or not budget.limits:
            return None
        limited = budget.max_arena is not None
        if arena is None and limited and importlib.util.find_spec("tflite_micro") is not None:
            arena = measure_arena(self.path)
        if arena is not None and budget.kernels == CMSIS_NN:
            arena = arena_with_cmsis_nn(self.path, arena)
        if latency_ms is None and budget.room:
            latency_ms = budget.room.milliseconds(instructions_of(self.path, budget.kernels))
        elif latency_ms is None and budget.max_latency_ms is not None:
            (latency_ms,) = measure_latencies([self.path])
        return budget.measured(self.bytes, arena, latency_ms)


def export_measured(
    network: keras.Model,
    dataset: Dataset,
    path: pathlib.Path,
    quantize: str = "int8",
    float_answers: np.ndarray | None = None,
) -> ExportedFile:
    """Writes a network's file and measures it.

    Calibration and quantisation-aware training see training images only.

    Args:
        network: as `export_tflite` takes it.
        dataset: what it was trained on.
        path: the file to write.
        quantize: one of `export_tflite`'s, or `"qat"` for quantisation-aware training.
        float_answers: see `measured`.

    Raises:
        InputError: as `export_tflite` and `export_qat` do.
    """
    if quantize == "qat":
        export_qat(network, dataset.train, dataset.validation, path=path)
    else:
        export_tflite(network, calibration_images(dataset), path, quantize=quantize)
    write_resize(path, dataset.resize)
    return measured(network, dataset, path, float_answers=float_answers)


def measured(
    network: keras.Model, dataset: Dataset, path: pathlib.Path, float_answers: np.ndarray | None = None
) -> ExportedFile:
    """Measures a file of the network that is written already.

    Args:
        network: that was exported.
        dataset: of whose test images it is measured.
        path: of the file.
        float_answers: of the network for the test images, (n, classes), where they are known already.
    """
    images, labels = dataset.test
    if float_answers is None:
        float_answers = answers_of_test(network, dataset)
    classifier = LiteRTClassifier(path)
    integer = classifier.dtypes[0] != np.float32
    answers, milliseconds = timed(classifier, images)
    some = slice(fidelity.CHECKED_IMAGES)
    return ExportedFile(
        path=path,
        bytes=path.stat().st_size,
        feed=classifier.feed(),
        probabilities=fidelity.are_probabilities(float_answers),
        input_error=classifier.input_error(*input_range(network)) if integer else None,
        input=classifier.input,
        output=classifier.output,
        measurement=Measurement.of(answers, milliseconds, labels),
        float_accuracy=float(np.mean(float_answers.argmax(axis=-1) == labels)),
        difference=fidelity.difference(answers[some], float_answers[some]),
        answers=answers,
        float_answers=float_answers,
    )


def answers_of_test(network: keras.Model, dataset: Dataset) -> np.ndarray:
    """The float network's outputs for the test images, (n, classes)."""
    return fidelity.answers(unwrapped(network), dataset.test[0])[0]


def calibration_images(dataset: Dataset) -> np.ndarray:
    """The training images on which activations' ranges are measured, of shape (n, height, width, channels)."""
    return dataset.train[0][:CALIBRATION_IMAGES]
