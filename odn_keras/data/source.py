"""Sources of images: splits that are not read yet, and what is known about them before."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from odn_keras.data import disk_images
from odn_keras.data.disk_images import Images
from odn_keras.data.resizing import RESIZES, STRETCH
from odn_keras.errors import InputError
from odn_keras.utils.progress import Progress

CHUNK_BYTES = 2**24  # of images read at a time


@dataclass(frozen=True)
class Reading:
    """How images are read.

    Attributes:
        size: (height, width) in pixels; `None`: as they are.
        resize: how they are brought to that size: one of `odn_keras.data.resizing.RESIZES`.
        grayscale: True to read them as one channel.
    """

    size: tuple[int, int] | None = None
    resize: str = STRETCH
    grayscale: bool = False

    def __post_init__(self):
        if self.resize not in RESIZES:
            raise InputError(f"resize must be one of {', '.join(RESIZES)}, got {self.resize!r}")
        if self.resize != STRETCH and self.size is None:
            raise InputError(f"resize={self.resize} says how images come to a size: give image_size as well")


@dataclass(frozen=True)
class Held:
    """Images of a split with their labels, int64, and keys, uint64 (see `splits`), in the same order."""

    images: Images
    labels: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Part:
    """A split not read yet.

    Attributes:
        count: how many images it announces; 0: unknown.
        shape: (height, width, channels) of each.
        chunks: reads so many images at a time: (images, labels, keys).
    """

    count: int
    shape: tuple[int, ...]
    chunks: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]

    @property
    def size(self) -> int:
        """Bytes of the images, as far as their number is known."""
        return self.count * math.prod(self.shape)

    def read(self, folder: str | None) -> Held:
        """Reads the split into memory, or into a file in `folder`."""
        labels, keys = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]

        def images():
            for chunk, its_labels, its_keys in self.chunks(max(1, CHUNK_BYTES // math.prod(self.shape))):
                labels.append(its_labels.astype(np.int64))
                keys.append(its_keys.astype(np.uint64))
                progress.add(len(chunk))
                yield chunk

        with Progress("reading images", self.count) as progress:
            held = disk_images.hold(images(), self.shape, folder, count=self.count)
        return Held(held, np.concatenate(labels), np.concatenate(keys))


@dataclass
class Source:
    """A dataset that is not read yet.

    Attributes:
        kind: "digits", "folder", "npz" or "tfds".
        parts: of "train", "validation" and "test" what there is; "train" always.
        class_names: the names of the labels, if they have names.
        fixed: whether the images always come in the same order; their keys are then their places.
        source: name, configuration and version of a TFDS set.
        notes: what the user should know, one line each.
        check: called when all parts are read; raises InputError where that has gone wrong.
    """

    kind: str
    parts: dict[str, Part]
    class_names: dict[int, str] | None = None
    fixed: bool = False
    source: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    check: Callable[[], None] = lambda: None


def numbered(chunks: Iterator[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Numbers the images of chunks: their places become their keys."""
    place = 0
    for images, labels in chunks:
        yield images, labels, np.arange(place, place + len(labels))
        place += len(labels)
