"""Feeds pixels to a `.tflite` file, by the quantisation of its input or the normalisation of its metadata.

Needs NumPy only.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.deploy.tflite_file.normalization_metadata import normalization_of
from odn_keras.errors import InputError

RANGES = {(0.0, 255.0): "p", (0.0, 1.0): "p / 255", (-1.0, 1.0): "(p / 127.5 - 1)"}  # what pixels 0..255 can stand for
CLOSE = 0.05  # of such a range, that the input's range may miss at either end: it was measured on some images
SMALLEST: dict[Any, int] = {
    np.int8: -128,
    np.uint8: 0,
    np.float32: 0,
}  # stands for pixel 0, by type
PIXELS = np.arange(256)


@dataclass(frozen=True)
class Quantization:
    """real = scale * (quantised - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Feed:
    """Raw pixels -> the numbers that a file takes, of the same shape.

    Attributes:
        dtype: NumPy type of the numbers.
        words: a description for people.
        table: the number for each pixel, of shape (256,), or (256, channels) where channels differ; `None` where pixels
            are only shifted: int8 p - 128, else p.
        assumption: what the file does not say and is assumed, for people.
    """

    dtype: Any
    words: str
    table: np.ndarray | None = None
    assumption: str | None = None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Raw uint8 pixels -> the numbers, of the same shape."""
        if self.table is None:
            return (pixels ^ 128).view(np.int8) if self.dtype == np.int8 else pixels.astype(self.dtype)
        if self.table.ndim == 1:
            return self.table[pixels]
        return np.take_along_axis(self.table, pixels.reshape(-1, pixels.shape[-1]), axis=0).reshape(pixels.shape)

    def error(self, quantization: Quantization, low: float, high: float) -> float:
        """The largest error of the numbers, in quantisation steps, if pixels 0..255 stand for `low` to `high`."""
        numbers = PIXELS + SMALLEST[self.dtype] if self.table is None else self.table.astype(int)
        truth = (low + (high - low) * PIXELS / 255) / quantization.scale + quantization.zero_point
        return float(np.abs(numbers - truth).max())


def shifted(dtype: Any) -> Feed:
    """Pixels as a device feeds them without computing: int8 p - 128, or uint8 p."""
    return Feed(dtype, _words(dtype, f"p - {-SMALLEST[dtype]}" if SMALLEST[dtype] else "p"))


def integer_feed(path: str | os.PathLike, dtype: Any, quantization: Quantization) -> Feed:
    """For a quantised input: pixels stand for the one of `RANGES` that it covers.

    Where int8 p - 128, or uint8 p, is within a step of the truth, it is that, as devices do it.

    Raises:
        InputError: where the input covers another range.
    """
    plain = shifted(dtype)
    scale, zero_point = quantization.scale, quantization.zero_point
    if dtype == np.uint8 and not scale:
        return plain  # not quantised: pixels as they are
    smallest, largest = np.iinfo(dtype).min, np.iinfo(dtype).max
    covered = scale * (smallest - zero_point), scale * (largest - zero_point)
    for (low, high), real in RANGES.items():
        if max(abs(covered[0] - low), abs(covered[1] - high)) > CLOSE * (high - low):
            continue
        if plain.error(quantization, low, high) <= 1:
            return plain
        numbers = np.round((low + (high - low) * PIXELS / 255) / scale) + zero_point
        words = (
            f"round({real} / {scale:.8g}) {'-' if zero_point < 0 else '+'} {abs(zero_point)}, {smallest} to {largest}"
        )
        return Feed(dtype, _words(dtype, words), np.clip(numbers, smallest, largest).astype(dtype))
    raise InputError(
        f"{path} does not say how it takes pixels: its input of scale {scale:.6g} and zero point {zero_point} covers "
        f"{covered[0]:.4g} to {covered[1]:.4g}, not 0..255, 0..1 or -1..1"
    )


def float_feed(path: str | os.PathLike, channels: int) -> Feed:
    """For a float input: as the metadata's normalisation says, else raw pixels, as files of odn_keras take them.

    Raises:
        InputError: where the normalisation is not one of that many channels.
    """
    found = normalization_of(path)
    if found is None:
        words = _words(np.float32, "p")
        return Feed(np.float32, words, assumption=f"{path} does not say how it takes pixels: it gets {words}")
    mean, deviation = found
    if {len(mean), len(deviation)} - {1, channels} or not all(np.isfinite([*mean, *deviation])) or 0 in deviation:
        raise InputError(
            f"the metadata of {path} has a normalisation that cannot be: mean {mean}, deviation {deviation}"
        )
    table = np.broadcast_to((PIXELS[:, None] - np.array(mean)) / np.array(deviation), (256, channels))
    shown = [" ".join(f"{number:g}" for number in numbers) for numbers in (mean, deviation)]
    return Feed(np.float32, _words(np.float32, f"(p - {shown[0]}) / {shown[1]}"), table.astype(np.float32))


def _words(dtype: Any, number: str) -> str:
    return f"pixel p (0..255) as the {np.dtype(dtype)} number {number}"
