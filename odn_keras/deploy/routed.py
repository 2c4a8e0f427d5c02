"""Running a chain of int8 files (see `odn_keras.deploy.chain`), stage by stage, until one is sure enough.

Needs NumPy and the runtime only.
"""

import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from odn_keras.deploy.runtimes import Classifier, Quantization, open_interpreter
from odn_keras.errors import InputError
from odn_keras.quiet import quiet

if TYPE_CHECKING:
    from odn_keras.spool import Images

ROUTING = "routing.json"
PROBABILITY = Quantization(1 / 256, -128)  # of every int8 softmax in TFLite
NO_INT8 = 128  # above all of them
MICRO_ARENA = 2**24

_Stage = Callable[[np.ndarray], list[np.ndarray]]


def int8_threshold(threshold: float) -> int:
    """The least int8 probability that reaches a threshold; 128, which none is, where no probability does.

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
        InputError: where the runtime is missing or the files are no chain.
    """

    def __init__(self, stages: Sequence[str | os.PathLike], runtime: str = "litert"):
        if runtime not in _OPENERS:
            raise InputError(f"runtime must be one of {', '.join(_OPENERS)}, got {runtime!r}")
        for path in stages:
            if not os.path.isfile(path):
                raise InputError(f"no such file: {path}")
        tensors = [_outer_tensors(path) for path in stages]
        for (_, outputs), (inputs, _), path in zip(tensors, tensors[1:], stages[1:], strict=False):
            if outputs[1:] != inputs:
                raise InputError(f"{path} does not take what the stage before it gives: route again")
        (image,), (answer, *_) = tensors[0]
        self.input_shape, self.classes = image[0][1:], answer[0][-1]
        self._stages = [_OPENERS[runtime](path) for path in stages]

    def run(self, pixels: np.ndarray) -> np.ndarray:
        *_, end = self._answers(pixels)
        return probabilities(end)

    def predict_every_exit(self, images: "Images") -> np.ndarray:
        """Raw uint8 pixels (n, height, width, channels) -> class probabilities of every exit, float32 (exits, n,
        classes)."""
        answers = [np.stack(list(self._answers(pixels))) for pixels in self.one_by_one(images)]
        return probabilities(np.stack(answers, axis=1))

    def _answers(self, pixels: np.ndarray) -> Iterator[np.ndarray]:
        """The int8 probabilities (classes,) of one exit after the other, each computed when it is asked for."""
        features = (pixels[np.newaxis].astype(np.int16) - 128).astype(np.int8)
        for stage in self._stages:
            answer, *rest = stage(features)
            yield answer[0].copy()
            features = rest[0] if rest else features


class RoutedClassifier(Chain):
    """A classifier that computes no more of a network than an image needs.

    Whether an image leaves is decided by one comparison of int8 numbers, as on a device.

    Args:
        folder: what `python -m odn_keras.route` has written.
        runtime: `"litert"` or `"tflite_micro"`.

    Attributes:
        thresholds: of each exit but the end, as int8 numbers; 128 for an exit that is not used.
        labels: the names of the classes.

    Raises:
        InputError: where the folder holds no such files, or the runtime is missing.
    """

    def __init__(self, folder: str | os.PathLike, runtime: str = "litert"):
        try:
            stored = json.loads(pathlib.Path(folder, ROUTING).read_text(encoding="utf-8"))
            stages = [pathlib.Path(folder, stage["file"]) for stage in stored["stages"]]
            self.thresholds = [int(stage["threshold_int8"]) for stage in stored["stages"][:-1]]
            self.labels = tuple(stored["labels"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} holds no routed network: python -m odn_keras.route writes one ({error!r})"
            ) from error
        super().__init__(stages, runtime)

    def run(self, pixels: np.ndarray) -> np.ndarray:
        return probabilities(self._route(pixels)[0])

    def route(self, images: "Images") -> tuple[np.ndarray, np.ndarray]:
        """Raw uint8 pixels (n, height, width, channels) -> class probabilities, float32 (n, classes), and the exits
        taken (n,), from 0."""
        answers, exits = zip(*map(self._route, self.one_by_one(images)), strict=True)
        return probabilities(np.stack(answers)), np.array(exits)

    def _route(self, pixels: np.ndarray) -> tuple[np.ndarray, int]:
        for number, answer in enumerate(self._answers(pixels)):
            if number == len(self.thresholds) or answer.max() >= self.thresholds[number]:
                break
        return answer, number


_Tensor = tuple[tuple[int, ...], float, int]


def _outer_tensors(path: str | os.PathLike) -> tuple[list[_Tensor], list[_Tensor]]:
    """Shape, scale and zero point of inputs and outputs, which must be int8."""
    from odn_keras.deploy.memory import check_integer, read_model

    model = read_model(pathlib.Path(path).read_bytes())
    check_integer(model)
    (graph,) = model.subgraphs

    def described(place) -> _Tensor:
        tensor = graph.tensors[place]
        scales, zeros = tensor.quantization.scale, tensor.quantization.zeroPoint
        return tuple(int(n) for n in tensor.shape), float(scales[0]), int(zeros[0])

    return [described(place) for place in graph.inputs], [described(place) for place in graph.outputs]


def _litert(path: str | os.PathLike) -> _Stage:
    interpreter = open_interpreter(path)
    entry = interpreter.get_input_details()[0]["index"]
    outputs = [details["index"] for details in interpreter.get_output_details()]

    def stage(tensor: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(entry, tensor)
        interpreter.invoke()
        return [interpreter.get_tensor(output) for output in outputs]

    return stage


def _micro(path: str | os.PathLike) -> _Stage:
    _litert(path)  # TFLite Micro crashes on damaged files
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise InputError("this needs TFLite Micro: pip install 'odn_keras[micro]'") from error
    with quiet(show_on_failure=False):
        interpreter = runtime.Interpreter.from_bytes(pathlib.Path(path).read_bytes(), arena_size=MICRO_ARENA)
    count = len(_outer_tensors(path)[1])

    def stage(tensor: np.ndarray) -> list[np.ndarray]:
        interpreter.set_input(tensor, 0)
        interpreter.invoke()
        return [interpreter.get_output(place) for place in range(count)]

    return stage


_OPENERS: dict[str, Callable[[str | os.PathLike], _Stage]] = {"litert": _litert, "tflite_micro": _micro}
