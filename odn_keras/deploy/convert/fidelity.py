"""Compares the outputs of a file with those of its float network; every export does so on calibration images.

Two things can go wrong. The network that is converted may differ from the one given: the float outputs of both are
compared first. And the file may compute inexactly: its outputs in LiteRT are compared with the float ones. The
difference is the mean over images of the largest difference of an output, for probabilities (from 0 to 1); other
outputs are first divided by the span of the float network's.
"""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from odn_keras.deploy.feeding import SMALLEST
from odn_keras.deploy.runtimes import open_interpreter
from odn_keras.errors import InputError
from odn_keras.networks import copying

if TYPE_CHECKING:
    from odn_keras.data.disk_images import Images

CHECKED_IMAGES = 200
BATCH = 50
COPY = 1e-3  # the largest difference of what is converted
LOW_PRECISION_COPY = 0.05  # the same where the network given computes in 16 bits
FILE = {"none": 1e-3, "float16": 1e-2, "dynamic": 0.1, "int8": 0.1, "qat": 0.1}  # that of the file, by quantisation

Answers = list[np.ndarray]  # of each output


@dataclasses.dataclass(frozen=True)
class Reference:
    """The outputs of the float network on calibration images, computed before the network is copied.

    Attributes:
        images: as the network takes them.
        answers: of each output.
        low_precision: whether the network computes in 16 bits.
    """

    images: np.ndarray
    answers: Answers
    low_precision: bool

    @classmethod
    def of(cls, network: keras.Model, images: np.ndarray) -> "Reference":
        """The reference on the first `CHECKED_IMAGES` of the images."""
        images = images[:CHECKED_IMAGES]
        low_precision = any(layer.compute_dtype != "float32" for layer in copying.all_layers(network))
        return cls(images, answers(network, images), low_precision)

    @property
    def are_probabilities(self) -> bool:
        """True where all outputs are from 0 to 1."""
        return all(map(are_probabilities, self.answers))

    def check_copy(self, found: Answers) -> None:
        """Raises `InputError` where what is converted, with these float answers, is not the network given."""
        limit = LOW_PRECISION_COPY if self.low_precision else COPY
        worst = max(map(difference, found, self.answers))
        if not worst <= limit:
            raise InputError(
                "nothing is exported: what would be converted answers otherwise than the network given, by "
                f"{worst:.3g} on average, {limit:g} is allowed: does a layer hold numbers that it does not save, or "
                "compute otherwise under TensorFlow?"
            )

    def check_file(self, found: Sequence[np.ndarray], quantize: str, expected: Answers | None = None) -> None:
        """Compares the outputs of a file with those of the network.

        Args:
            found: each of its outputs.
            quantize: how it was quantised: one of `FILE`.
            expected: what the outputs should be; default: those of the network.

        Raises:
            InputError: where they differ by too much.
        """
        expected = self.answers if expected is None else expected
        worst = max(map(difference, found, expected))
        if not worst <= FILE[quantize]:
            raise InputError(
                f"nothing is exported: the {quantize} file answers otherwise in LiteRT than the float network, by "
                f"{worst:.3g} on average of {len(self.images)} calibration images, {FILE[quantize]:g} is allowed"
                + (": try qat or float16" if quantize in ("int8", "dynamic") else "")
            )


def answers(network: keras.Model, images: "Images") -> Answers:
    """The network's own outputs, computed in the present backend, of images as it takes them."""
    parts = []
    with _inference():
        for start in range(0, len(images), BATCH):
            outputs = network(np.asarray(images[start : start + BATCH], np.float32), training=False)
            parts.append(
                [keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in keras.tree.flatten(outputs)]
            )
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def file_answers(path: str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """The outputs in LiteRT of a file with one output, as real numbers.

    Args:
        path: of the file.
        images: of an integer file: integers are pixels, fed as a device does, p as p - 128 (uint8: as p); floats are
            what the file's input quantisation stands for. A float file takes them as they are.
    """
    interpreter = open_interpreter(path)
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for tensor in _fed(images, image):
        interpreter.set_tensor(image["index"], tensor[np.newaxis])
        interpreter.invoke()
        found.append(interpreter.get_tensor(output["index"])[0])
    raw = np.stack(found)
    if raw.dtype.kind == "f":
        return raw
    scale, zero = output["quantization"]
    return (raw.astype(np.float32) - zero) * np.float32(scale)


def are_probabilities(outputs: np.ndarray) -> bool:
    """True where all outputs are from 0 to 1, and so are taken for probabilities."""
    return bool(outputs.min() >= 0 and outputs.max() <= 1)


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The mean over images of the largest difference of an output, in the unit of this module.

    >>> round(difference(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]])), 3)
    0.25
    >>> round(difference(np.array([[4.0, -4.0]]), np.array([[6.0, -4.0]])), 3)
    0.2
    """
    return float(np.abs(found - expected).reshape(len(expected), -1).max(axis=-1).mean() / _span(expected))


def _span(outputs: np.ndarray) -> float:
    if are_probabilities(outputs):
        return 1.0
    return max(float(outputs.max()), 0.0) - min(float(outputs.min()), 0.0)


def _fed(images: np.ndarray, details) -> np.ndarray:
    kind = details["dtype"]
    if np.dtype(kind).kind == "f":
        return images.astype(kind)
    if images.dtype.kind in "iu":
        return (images.astype(np.int16) + SMALLEST[kind]).astype(kind)
    scale, zero = details["quantization"]
    limits = np.iinfo(kind)
    return np.clip(np.round(images / scale) + zero, limits.min, limits.max).astype(kind)


@contextlib.contextmanager
def _inference():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The structure of `inputs`")  # a list of one image, or a dict
        if keras.backend.backend() == "torch":
            import torch

            with torch.no_grad():
                yield
        else:
            yield
