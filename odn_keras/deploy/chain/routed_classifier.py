"""Runs a chain of int8 files (see `odn_keras.deploy.chain.exit_chain`), stage by stage, until one is sure enough.

Needs NumPy and the runtime only.
"""

import json
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from odn_keras.deploy.feeding import Quantization, integer_feed
from odn_keras.deploy.runtimes import Classifier, open_interpreter, read_file
from odn_keras.errors import InputError
from odn_keras.quiet import quiet_in_commands

if TYPE_CHECKING:
    from odn_keras.data.disk_images import Images

ROUTING = "routing.json"
PROBABILITY = Quantization(1 / 256, -128)  # of every int8 softmax in TFLite
LEAST_INT8, NO_INT8 = -128, 128  # the second is above all of them
LONGEST = 2**24  # bytes of a routing.json
MICRO_ARENA = 2**24

_Stage = Callable[[np.ndarray], list[np.ndarray]]


def int8_threshold(threshold: float) -> int:
    """The least int8 probability that reaches a threshold; 128, above all of them, where none does.

    >>> int8_threshold(0.0), int8_threshold(0.5), int8_threshold(2.0)
    (-128, 0, 128)
    """
    return min(NO_INT8, int(np.ceil(threshold / PROBABILITY.scale)) + PROBABILITY.zero_point)


def probabilities(quantized: np.ndarray) -> np.ndarray:
    """int8 -> float32."""
    return (quantized.astype(np.float32) - PROBABILITY.zero_point) * np.float32(PROBABILITY.scale)


class Chain(Classifier):
    """The stages, all of which every image goes through.

    Args:
        stages: the files, in order.
        runtime: `"litert"` or `"tflite_micro"`.

    Raises:
        InputError: where the runtime is missing, or the files are no chain of int8 classifiers.
    """

    def __init__(self, stages: Sequence[str | os.PathLike[str]], runtime: str = "litert"):
        super().__init__()
        if runtime not in _OPENERS:
            raise InputError(f"runtime must be one of {', '.join(_OPENERS)}, got {runtime!r}")
        if not stages:
            raise InputError("a chain needs at least one stage, got none")
        image, self.classes = _checked(stages)
        self.input_shape = image.shape[1:]
        self._feed = integer_feed(stages[0], np.int8, Quantization(image.scale, image.zero_point))
        self._stages = [_OPENERS[runtime](path) for path in stages]

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels of shape (height, width, channels) -> probabilities of the end, float32 (classes,)."""
        *_, end = self._answers(pixels)
        return probabilities(end)

    def predict_every_exit(self, images: "Images") -> np.ndarray:
        """The class probabilities of every exit, float32 (exits, n, classes).

        Args:
            images: raw uint8 pixels of shape (n, height, width, channels).
        """
        answers = [np.stack(list(self._answers(pixels))) for pixels in self.one_by_one(images)]
        if not answers:
            return np.empty((len(self._stages), 0, self.classes), np.float32)
        return probabilities(np.stack(answers, axis=1))

    def _answers(self, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """The int8 probabilities (classes,) of one exit after the other, each computed when it is asked for."""
        features = self._feed(pixels)[np.newaxis]
        for stage in self._stages:
            answer, *rest = stage(features)
            yield answer[0]
            features = rest[0] if rest else features


class RoutedClassifier(Chain):
    """A classifier that stops at the first exit that is sure enough of an image.

    One comparison of int8 numbers decides whether an image leaves, as on a device.

    Args:
        folder: what `python -m odn_keras.route` has written.
        runtime: `"litert"` or `"tflite_micro"`.

    Attributes:
        thresholds: of each exit but the end, as int8 numbers; 128 for an exit that is not used.
        labels: the names of the classes.

    Raises:
        InputError: where the folder holds no such files, or the runtime is missing.
    """

    def __init__(self, folder: str | os.PathLike[str], runtime: str = "litert"):
        try:
            stages, self.thresholds, self.labels = _read_routing(pathlib.Path(folder, ROUTING))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{folder} holds no routed network: python -m odn_keras.route writes one ({error!r})"
            ) from error
        super().__init__(stages, runtime)
        if len(self.labels) != self.classes:
            raise InputError(
                f"{folder}/{ROUTING} has {len(self.labels)} labels, its stages have {self.classes} classes"
            )

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels of shape (height, width, channels) -> class probabilities, float32 (classes,)."""
        return probabilities(self._route(pixels)[0])

    def route(self, images: "Images") -> tuple[np.ndarray, np.ndarray]:
        """The class probabilities, float32 (n, classes), and the exits taken, from 0, shape (n,).

        Args:
            images: raw uint8 pixels of shape (n, height, width, channels).
        """
        routed = [self._route(pixels) for pixels in self.one_by_one(images)]
        answers = self._stacked([answer for answer, _ in routed], np.int8)
        return probabilities(answers), np.array([exit_taken for _, exit_taken in routed], int)

    def _route(self, pixels: np.ndarray) -> tuple[np.ndarray, int]:
        for number, answer in enumerate(self._answers(pixels)):
            if number == len(self.thresholds) or answer.max() >= self.thresholds[number]:
                break
        return answer, number


def _read_routing(path: pathlib.Path) -> tuple[list[pathlib.Path], list[int], tuple[str, ...]]:
    """The stages' files, the thresholds of all but the end, and the labels.

    Raises:
        ValueError, KeyError, TypeError: where the file is not as `python -m odn_keras.route` writes it.
    """
    with path.open("rb") as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        raise ValueError(f"{ROUTING} has more than {LONGEST} bytes")
    stored = json.loads(content.decode("utf-8"))
    files = [stage["file"] for stage in stored["stages"]]
    thresholds = [stage["threshold_int8"] for stage in stored["stages"][:-1]]
    labels = stored["labels"]
    if not files:
        raise ValueError("it has no stages")
    for file in files:
        if not isinstance(file, str) or "\\" in file or file in ("", "..") or pathlib.PurePath(file).name != file:
            raise ValueError(f"a stage must be the name of a file in the folder, got {file!r}")
    for threshold in thresholds:
        if type(threshold) is not int or not LEAST_INT8 <= threshold <= NO_INT8:
            raise ValueError(f"threshold_int8 must be a whole number from {LEAST_INT8} to {NO_INT8}, got {threshold!r}")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"labels must be a list of texts, got {str(labels)[:50]}")
    return [path.with_name(file) for file in files], thresholds, tuple(labels)


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    scale: float
    zero_point: int


def _checked(stages: Sequence[str | os.PathLike[str]]) -> tuple[_Tensor, int]:
    """The image that the first stage takes, and the number of classes.

    Raises:
        InputError: where the stages are no chain: an image, probabilities from each, features from one to the next.
    """
    tensors = [_outer_tensors(path) for path in stages]
    for (_, outputs), (inputs, _), path in zip(tensors, tensors[1:], stages[1:], strict=False):
        if outputs[1:] != inputs:
            raise InputError(f"{path} does not take what the stage before it gives: route again")
    inputs = tensors[0][0]
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[0] != 1:
        raise InputError(f"{stages[0]} takes no image of batch 1, but {[tensor.shape for tensor in inputs]}")
    answers = [outputs[0] for _, outputs in tensors]
    for answer, path in zip(answers, stages, strict=True):
        if Quantization(answer.scale, answer.zero_point) != PROBABILITY or len(answer.shape) != 2:
            raise InputError(f"{path} gives no int8 probabilities, which thresholds are for: route again")
        if answer.shape != answers[0].shape:
            raise InputError(f"{path} has {answer.shape[-1]} classes, {stages[0]} has {answers[0].shape[-1]}")
    if len(tensors[-1][1]) != 1:
        raise InputError(f"{stages[-1]} is not the last stage: it has {len(tensors[-1][1])} outputs")
    return inputs[0], answers[0].shape[-1]


def _outer_tensors(path: str | os.PathLike[str]) -> tuple[list[_Tensor], list[_Tensor]]:
    """Inputs and outputs, which must be int8, the first output a softmax's."""
    try:
        from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
    except ImportError as error:
        raise InputError(f"routing needs ai-edge-litert: pip install ai-edge-litert ({error})") from error

    from odn_keras.deploy.tflite_file.flatbuffer import check_integer
    from odn_keras.deploy.tflite_file.graph import Graph

    graph = Graph(read_file(path))
    check_integer(graph.model)

    def described(tensor: int) -> _Tensor:
        quantization = graph.quantization(tensor)
        if graph.type(tensor) != TensorType.INT8 or quantization is None:
            raise InputError(f"{path} has inputs or outputs that are not int8: it is no stage of a routed network")
        return _Tensor(graph.shape(tensor), *quantization)

    maker = graph.maker(graph.outputs[0])
    if maker is None or graph.kind(maker) != BuiltinOperator.SOFTMAX:
        raise InputError(f"{path} gives no probabilities, which thresholds are for: its first output is no softmax")
    return [described(tensor) for tensor in graph.inputs], [described(tensor) for tensor in graph.outputs]


def _litert(path: str | os.PathLike[str]) -> _Stage:
    interpreter = open_interpreter(path)
    entry = interpreter.get_input_details()[0]["index"]
    outputs = [details["index"] for details in interpreter.get_output_details()]
    lock = threading.Lock()

    def stage(tensor: np.ndarray) -> list[np.ndarray]:
        with lock:
            interpreter.set_tensor(entry, tensor)
            interpreter.invoke()
            return [interpreter.get_tensor(output) for output in outputs]

    return stage


def _micro(path: str | os.PathLike[str]) -> _Stage:
    _litert(path)  # TFLite Micro crashes on damaged files
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise InputError("this needs TFLite Micro: pip install 'odn_keras[micro]'") from error
    try:
        with quiet_in_commands():
            interpreter = runtime.Interpreter.from_bytes(read_file(path), arena_size=MICRO_ARENA)
            interpreter.invoke()  # some operators fail only here
    except RuntimeError as error:
        raise InputError(f"TFLite Micro cannot run {path} in an arena of {MICRO_ARENA} bytes ({error})") from error
    count = len(_outer_tensors(path)[1])
    lock = threading.Lock()

    def stage(tensor: np.ndarray) -> list[np.ndarray]:
        with lock:
            interpreter.set_input(tensor, 0)
            interpreter.invoke()
            return [interpreter.get_output(place).copy() for place in range(count)]

    return stage


_OPENERS: dict[str, Callable[[str | os.PathLike[str]], _Stage]] = {"litert": _litert, "tflite_micro": _micro}
