"""Running a `.tflite` file as a device does."""

import os
from dataclasses import dataclass

import numpy as np

from odn_keras.errors import InputError
from odn_keras.quiet import quiet
from odn_keras.spool import Images

READ_BATCH = 100  # images on disk come into memory so many at a time


@dataclass(frozen=True)
class Quantization:
    """real = scale * (quantised - zero_point)."""

    scale: float
    zero_point: int


class LiteRTClassifier:
    """An int8 classifier in LiteRT (the runtime of Android; once TensorFlow Lite), one image at a time.

    Args:
        path: an int8 `.tflite` file with one image input and one output.
        num_threads: CPU threads.

    Attributes:
        input_shape: (height, width, channels).
        input, output: their `Quantization`.

    Raises:
        InputError: where LiteRT is not installed, or the file is no int8 classifier.
    """

    def __init__(self, path: str | os.PathLike, num_threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise InputError(f"running .tflite files needs LiteRT: pip install ai-edge-litert ({error})") from error
        try:
            with quiet(show_on_failure=False):
                self._interpreter = Interpreter(os.fspath(path), num_threads=num_threads)
                self._interpreter.allocate_tensors()
                for details in self._interpreter.get_input_details():
                    self._interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
                self._interpreter.invoke()  # some damage shows only here
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path} is not a readable .tflite file ({str(error).splitlines()[0]})") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1 or {inputs[0]["dtype"], outputs[0]["dtype"]} != {np.int8}:
            raise InputError(f"{path} is no classifier with one int8 input and one int8 output")
        self._in, self._out = inputs[0]["index"], outputs[0]["index"]
        self.input_shape = tuple(int(n) for n in inputs[0]["shape"][1:])
        self.input = Quantization(*inputs[0]["quantization"])
        self.output = Quantization(*outputs[0]["quantization"])

    def input_error(self) -> float:
        """How far the input is from taking pixel p as p - 128, at worst, in quantisation steps."""
        pixels = np.arange(256)
        real = self.input.scale * (pixels - 128 - self.input.zero_point)
        return float(np.abs(real - pixels / 255).max() / self.input.scale)

    def predict_quantized(self, images: Images) -> np.ndarray:
        """Raw uint8 pixels of shape (n, height, width, channels) -> int8 outputs of shape (n, classes)."""
        if images.dtype != np.uint8 or images.shape[1:] != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise InputError(f"images must be uint8 of shape (n, {expected}), got {images.dtype} {images.shape}")
        outputs = []
        for start in range(0, len(images), READ_BATCH):
            for pixels in (images[start : start + READ_BATCH].astype(np.int16) - 128).astype(np.int8):
                self._interpreter.set_tensor(self._in, pixels[np.newaxis])
                self._interpreter.invoke()
                outputs.append(self._interpreter.get_tensor(self._out)[0])
        return np.stack(outputs)

    def predict(self, images: Images) -> np.ndarray:
        """Raw uint8 pixels of shape (n, height, width, channels) -> class probabilities, float32 (n, classes)."""
        quantized = self.predict_quantized(images).astype(np.float32)
        return (quantized - self.output.zero_point) * np.float32(self.output.scale)

    def accuracy(self, images: Images, labels: np.ndarray) -> float:
        """Fraction of the images, in memory or on disk, whose most probable class is the label."""
        return float(np.mean(self.predict_quantized(images).argmax(axis=-1) == labels))
