"""Running a `.tflite` file as a device does. Needs NumPy and the runtime only.

Classifiers may be opened, used and closed by many threads, as in a server, and redirect none of its output: the line
with which a runtime greets the first time goes to stderr. Threads that share a classifier take turns.
"""

from __future__ import annotations

import abc
import functools
import importlib.util
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from odn_keras.deploy.feeding import Feed, Quantization, float_feed, integer_feed
from odn_keras.errors import InputError
from odn_keras.quiet import quiet_in_commands

if TYPE_CHECKING:
    from odn_keras.data.disk_images import Images

READ_BATCH = 100  # images on disk come into memory so many at a time
KNOWN = (np.int8, np.uint8, np.float32)  # types of inputs and outputs
PROBE_IMAGES = 8
ROUNDING = 0.02  # how far a float softmax's sum may be from 1
SOFTMAX_STEP = 1 / 256  # of every quantised softmax in TFLite


class Classifier(abc.ABC):
    """A classifier in some runtime, one image at a time. One of RGB images takes grey ones as well.

    Leaving its `with` block closes it. Threads may share it: they take turns.

    Attributes:
        input_shape: (height, width, channels).
        classes: how many there are.
    """

    input_shape: tuple[int, ...]
    classes: int
    timing = "one thread"  # what `timed_run` measures, for people
    _output_step = SOFTMAX_STEP

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @abc.abstractmethod
    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels of shape (height, width, channels) -> class probabilities, float32 (classes,).

        Where `gives_probabilities` is false they are whatever the file gives, such as logits.
        """

    def timed_run(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """As `run`, with the milliseconds it took."""
        began = time.perf_counter()
        return self.run(pixels), 1000 * (time.perf_counter() - began)

    @property
    def assumption(self) -> str | None:
        """What the file does not say and is assumed, for people; `None` where there is no such thing."""
        return None

    @property
    def details(self) -> dict[str, Any]:
        """What else is known of the runtime, for a report."""
        return {}

    @property
    def remarks(self) -> list[str]:
        """The same for people, a line each."""
        return []

    def gives_probabilities(self) -> bool:
        """True where the outputs for some test patterns are from 0 to 1 and sum to about 1."""
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (PROBE_IMAGES, *self.input_shape)).astype(np.uint8)
        images[0], images[1] = 0, 255
        outputs = self.predict(images)
        allowed = ROUNDING + self.classes * self._output_step / 2
        within = np.isfinite(outputs).all() and outputs.min() >= 0 and outputs.max() <= 1
        return bool(within and np.abs(outputs.sum(axis=-1) - 1).max() <= allowed)

    def close(self) -> None:  # noqa: B027 (only some runtimes hold what must be let go)
        """Frees the resources of the runtime."""

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def predict(self, images: Images) -> np.ndarray:
        """Raw uint8 pixels of shape (n, height, width, channels) -> class probabilities, float32 (n, classes)."""
        return self._stacked([self.run(pixels) for pixels in self.one_by_one(images)], np.float32)

    def _stacked(self, outputs: list[np.ndarray], dtype: npt.DTypeLike) -> np.ndarray:
        return np.stack(outputs) if outputs else np.empty((0, self.classes), dtype)

    def accuracy(self, images: Images, labels: np.ndarray) -> float:
        """Fraction of the images, in memory or on disk, whose most probable class is the label."""
        return float(np.mean(self.predict(images).argmax(axis=-1) == labels))

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """True where images of that shape, (height, width, channels), can be classified."""
        height, width, channels = self.input_shape
        return shape == self.input_shape or (channels == 3 and shape == (height, width, 1))

    def one_by_one(self, images: Images) -> Iterator[np.ndarray]:
        """The images, from memory or from disk, each as `run` takes it.

        Raises:
            InputError: where they are no uint8 images of the input's shape.
        """
        if images.dtype != np.uint8 or not self.accepts(tuple(images.shape[1:])):
            expected = ", ".join(map(str, self.input_shape))
            raise InputError(f"images must be uint8 of shape (n, {expected}), got {images.dtype} {images.shape}")
        for start in range(0, len(images), READ_BATCH):
            batch = images[start : start + READ_BATCH]
            yield from np.repeat(batch, self.input_shape[-1] // batch.shape[-1], axis=-1)


class TensorClassifier(Classifier):
    """A classifier whose input and output tensors are at hand: of int8, uint8 or, unquantised, float32.

    Pixels go in as the file's own quantisation has it: the range of its input must be about 0..255, 0..1 or -1..1, for
    which pixels 0..255 then stand. A float file gets them as its metadata's normalisation says, and raw without one.
    A file of another range can be opened, but raises `InputError` where it is to take pixels.

    Args:
        path: of the file, for messages and its metadata.
        taken: details of its one input, as TFLite's interpreters give them.
        given: details of its one output.

    Attributes:
        dtypes: NumPy types of input and output.
        input, output: their `Quantization`.

    Raises:
        InputError: where the file is no image classifier.
    """

    def __init__(self, path: str | os.PathLike[str], taken: dict[str, Any], given: dict[str, Any]):
        super().__init__()
        shapes = [tuple(int(n) for n in details["shape"]) for details in (taken, given)]
        self.dtypes = [details["dtype"] for details in (taken, given)]
        if [len(shape) for shape in shapes] != [4, 2] or any(shape[0] != 1 for shape in shapes):
            raise InputError(f"{path} is no image classifier of batch 1: it takes {shapes[0]} and gives {shapes[1]}")
        if any(dtype not in KNOWN for dtype in self.dtypes):
            raise InputError(f"{path} takes {self.dtypes[0].__name__} and gives {self.dtypes[1].__name__}: not known")
        self.input_shape, self.classes = shapes[0][1:], shapes[1][1]
        self.input, self.output = _quantization(taken), _quantization(given)
        self._path = path
        self._output_step = 0.0 if self.dtypes[1] == np.float32 else self.output.scale

    @functools.cached_property
    def _feed(self) -> Feed:
        if self.dtypes[0] == np.float32:
            return float_feed(self._path, self.input_shape[-1])
        return integer_feed(self._path, self.dtypes[0], self.input)

    @property
    def assumption(self) -> str | None:
        """What the file does not say about its input and is assumed; `None` where there is no such thing."""
        return self._feed.assumption

    @abc.abstractmethod
    def _invoke(self, tensor: np.ndarray) -> np.ndarray:
        """Input of shape (1, height, width, channels) -> output of shape (1, classes), an array of its own."""

    def input_error(self, low: float = 0.0, high: float = 1.0) -> float:
        """The largest error of a pixel fed to an integer file, in quantisation steps.

        Pixels 0 and 255 stand for `low` and `high`: see `odn_keras.deploy.convert.tflite.input_range`.
        """
        return self._feed.error(self.input, low, high)

    def feed(self) -> str:
        """How `run` feeds an image, and how a device should, for people."""
        return self._feed.words

    def run(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels of shape (height, width, channels) -> outputs as real numbers, float32 (classes,)."""
        raw = self._run(pixels)
        if raw.dtype == np.float32:
            return raw
        return (raw.astype(np.float32) - self.output.zero_point) * np.float32(self.output.scale)

    def predict_quantized(self, images: Images) -> np.ndarray:
        """Raw uint8 pixels of shape (n, height, width, channels) -> integer outputs of shape (n, classes)."""
        if self.dtypes[1] == np.float32:
            raise InputError(f"{self._path} is a float file: it has no quantised outputs")
        return self._stacked([self._run(pixels) for pixels in self.one_by_one(images)], self.dtypes[1])

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        return self.answer(self._feed(pixels)[np.newaxis])

    def answer(self, tensor: np.ndarray) -> np.ndarray:
        """Input of shape (1, height, width, channels), as the file takes it -> output of shape (classes,)."""
        with self._lock:
            return self._invoke(tensor)[0]


def open_interpreter(
    path: str | os.PathLike[str],
    num_threads: int = 1,
    module: str = "ai_edge_litert",
    package: str = "ai-edge-litert",
    kernels: str = "AUTO",
) -> Any:
    """LiteRT's interpreter of a `.tflite` file, ready to run.

    Args:
        path: of the file.
        num_threads: CPU threads.
        module: that the interpreter is in.
        package: to install for it.
        kernels: of the runtime's `OpResolverType`.

    Raises:
        InputError: where the package is missing, or the file cannot be read.
    """
    content = read_file(path)
    if not content:
        raise InputError(f"{path} is not a readable .tflite file (it is empty)")
    if module == "tflite_runtime" and importlib.util.find_spec(module) and not np.__version__.startswith("1."):
        raise InputError(f'{package} needs NumPy 1, this is NumPy {np.__version__}: pip install "numpy<2"')
    try:
        with quiet_in_commands():
            runtime = importlib.import_module(f"{module}.interpreter")
    except ImportError as error:
        raise InputError(
            f"running .tflite files needs {package}: pip install {package} ({first_line(error)})"
        ) from error
    try:
        with quiet_in_commands():
            interpreter = runtime.Interpreter(
                model_content=content,  # a mapped file would be a crash where somebody overwrites it
                num_threads=num_threads,
                experimental_op_resolver_type=runtime.OpResolverType[kernels],
            )
            interpreter.allocate_tensors()
            for details in interpreter.get_input_details():
                interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
            interpreter.invoke()  # some damage shows only here
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{path} is not a readable .tflite file ({first_line(error)})") from error
    return interpreter


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A file's content.

    Raises:
        InputError: where there is none that can be read.
    """
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder: give a .tflite file")
    try:
        return pathlib.Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({first_line(error)})") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its representation where it has none."""
    return (str(error).splitlines() or [repr(error)])[0]


class LiteRTClassifier(TensorClassifier):
    """A classifier in LiteRT (the runtime of Android; once TensorFlow Lite).

    Args:
        path: a `.tflite` file with one image input and one output.
        num_threads: CPU threads.

    Raises:
        InputError: where LiteRT is not installed, or the file is no image classifier.
    """

    module, package = "ai_edge_litert", "ai-edge-litert"
    kernels = "AUTO"  # or what else the runtime's OpResolverType has

    def __init__(self, path: str | os.PathLike[str], num_threads: int = 1):
        self._interpreter = open_interpreter(path, num_threads, self.module, package=self.package, kernels=self.kernels)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(f"{path} is no classifier: it has {len(inputs)} inputs and {len(outputs)} outputs")
        super().__init__(path, inputs[0], outputs[0])
        self._in, self._out = inputs[0]["index"], outputs[0]["index"]
        self.tensor_details = inputs[0], outputs[0]

    def _invoke(self, tensor: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._in, tensor)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._out)


class LiteRTReferenceClassifier(LiteRTClassifier):
    """A classifier in LiteRT's reference kernels: slow, and within one step of TFLite Micro's."""

    kernels = "BUILTIN_REF"


class TFLiteRuntimeClassifier(LiteRTClassifier):
    """A classifier in `tflite-runtime`, LiteRT's predecessor, for small boards; it needs NumPy 1."""

    module, package = "tflite_runtime", "tflite-runtime"


RUNTIMES = {  # where each one's class is; none is imported before it is asked for
    "litert": f"{__name__}:LiteRTClassifier",
    "litert_reference": f"{__name__}:LiteRTReferenceClassifier",
    "tflite_runtime": f"{__name__}:TFLiteRuntimeClassifier",
    "tflite_micro": "odn_keras.deploy.micro.tflite_micro:MicroClassifier",
    "serial": "odn_keras.deploy.micro.serial_device:SerialClassifier",
    "mediapipe": "odn_keras.deploy.android.mediapipe_tasks:MediaPipeClassifier",
}


def open_classifier(path: str | os.PathLike[str], runtime: str | None = None, **options: Any) -> Classifier:
    """Opens a `.tflite` file in one of `RUNTIMES`; default: LiteRT or, where only that is installed, tflite-runtime.

    Args:
        path: of the file.
        runtime: that is to run it.
        **options: what some runtimes need besides, such as `port="/dev/ttyACM0"` for `"serial"`.

    Raises:
        InputError: where the runtime is none of them or not installed, or cannot run the file.
    """
    if runtime is None:
        only_old = importlib.util.find_spec("tflite_runtime") and not importlib.util.find_spec("ai_edge_litert")
        runtime = "tflite_runtime" if only_old else "litert"
    if runtime not in RUNTIMES:
        raise InputError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    module, name = RUNTIMES[runtime].split(":")
    return getattr(importlib.import_module(module), name)(path, **options)


@dataclass(frozen=True)
class Measurement:
    """Accuracy of a classifier on labelled images, and milliseconds for one image."""

    images: int
    accuracy: float
    median_ms: float
    p95_ms: float
    mean_ms: float

    @classmethod
    def of(cls, outputs: np.ndarray, milliseconds: np.ndarray, labels: np.ndarray) -> Measurement:
        """The measurement of what `timed` returned for images of these labels."""
        return cls(
            images=len(labels),
            accuracy=float(np.mean(outputs.argmax(axis=-1) == labels)),
            median_ms=float(np.median(milliseconds)),
            p95_ms=float(np.percentile(milliseconds, 95)),
            mean_ms=float(np.mean(milliseconds)),
        )


def timed(classifier: Classifier, images: Images) -> tuple[np.ndarray, np.ndarray]:
    """Classifies images one by one; returns class probabilities (n, classes) and milliseconds (n,)."""
    probabilities, milliseconds = [], []
    for pixels in classifier.one_by_one(images):
        outputs, took = classifier.timed_run(pixels)
        probabilities.append(outputs)
        milliseconds.append(took)
    return np.stack(probabilities), np.array(milliseconds)


def measure(classifier: Classifier, images: Images, labels: np.ndarray) -> Measurement:
    """Accuracy and latency on as many images as labels."""
    return Measurement.of(*timed(classifier, images), labels)


def _quantization(details: dict[str, Any]) -> Quantization:
    scale, zero_point = details["quantization"]
    return Quantization(float(scale), int(zero_point))
