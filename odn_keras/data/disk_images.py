"""Holds the images of a dataset in memory, or in an unnamed file, read back image by image."""

import io
import os
import shutil
import tempfile
from collections.abc import Iterable

import numpy as np

from odn_keras.errors import InputError
from odn_keras.utils.process_memory import available_memory

MEMORY_SHARE = 1 / 2  # training needs memory too
_ELSEWHERE = "choose another folder (train: --out; other commands: TMPDIR; in Python spool_dir)"


class ImagesOnDisk:
    """uint8 images in a file; indexing with an integer, a slice or an array gives NumPy arrays, as of an array.

    The file has no name: it disappears with the last object that reads it, or with the process. It is read, not mapped,
    so that no image stays in the memory of the process.

    Args:
        file: the images one after the other, without gaps.
        shape: of all images in the file, (n, height, width, channels).
        places: which of them are in this selection, as integers of shape (m,); default: all.

    Attributes:
        shape: (m, height, width, channels).
        dtype: uint8.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, file: io.FileIO, shape: tuple[int, ...], places: np.ndarray | None = None):
        self._file = file
        self._places = np.arange(shape[0]) if places is None else places
        self.shape = (len(self._places), *shape[1:])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index) -> np.ndarray:
        places = np.asarray(self._places[index])
        images = np.empty((*places.shape, *self.shape[1:]), np.uint8)
        for place, image in zip(places.flat, images.reshape(-1, *self.shape[1:]), strict=True):
            if os.preadv(self._file.fileno(), [image.data], int(place) * image.nbytes) != image.nbytes:
                raise OSError(f"image {place} cannot be read back from disk")
        return images

    def subset(self, indices) -> "ImagesOnDisk":
        """The images of these indices, in this order, in the same file."""
        return ImagesOnDisk(self._file, self.shape, self._places[indices])


Images = np.ndarray | ImagesOnDisk


def subset(images: Images, indices) -> Images:
    """Some of the images, held where all of them are; a slice of an array shares its memory."""
    return images.subset(indices) if isinstance(images, ImagesOnDisk) else images[indices]


def arrange(images: Images, order: np.ndarray) -> Images:
    """The images of these different indices in this order; an array is changed in its place, never copied."""
    if isinstance(images, ImagesOnDisk):
        return images.subset(order)
    left = np.ones(len(images), bool)
    left[order] = False
    wanted = np.concatenate([order, np.flatnonzero(left)])
    moved = wanted == np.arange(len(wanted))
    for start in np.flatnonzero(~moved).tolist():
        if moved[start]:
            continue
        first, place = images[start].copy(), start
        while (comes_from := wanted[place]) != start:
            images[place] = images[comes_from]
            moved[place], place = True, comes_from
        images[place], moved[place] = first, True
    images.resize((len(order), *images.shape[1:]), refcheck=False)
    return images


def choose_folder(name: str, size: int, in_memory: bool | None, spool_dir: str | os.PathLike[str] | None) -> str | None:
    """The folder for the file that holds a dataset's `size` bytes of images; None: they are held in memory.

    Raises:
        InputError: where they do not fit.
    """
    memory = available_memory()
    if in_memory is None:
        in_memory = size <= MEMORY_SHARE * memory
    if in_memory:
        if size > memory:
            raise InputError(f"{name} needs {_gb(size)} of memory, {_gb(memory)} are free: leave --in_memory out")
        return None
    folder = os.path.expanduser(spool_dir) if spool_dir else tempfile.gettempdir()
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise InputError(f"cannot hold images in {folder} ({error.strerror}): {_ELSEWHERE}") from error
    if size > free:
        raise InputError(f"{name} needs {_gb(size)} on disk in {folder}, {_gb(free)} are free: {_ELSEWHERE}")
    return folder


def hold(chunks: Iterable[np.ndarray], shape: tuple[int, ...], folder: str | None, count: int = 0) -> Images:
    """Takes images of one shape (height, width, channels), chunk after chunk, into memory or a file in `folder`.

    Args:
        chunks: arrays of shape (some, height, width, channels).
        shape: (height, width, channels).
        folder: of the file; None: memory, of which nothing more is taken where there are `count` images.
        count: how many images there will be, as far as is known.

    Raises:
        InputError: where the file cannot be written.
    """
    if folder is None:
        return _hold_in_memory(chunks, shape, count)
    count = 0
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for chunk in chunks:
                _check_shape(chunk, shape)
                count += len(chunk)
                file.write(np.ascontiguousarray(chunk).data)
            reader = _Reader(os.dup(file.fileno()))
    except OSError as error:
        raise InputError(f"cannot hold images in {folder} ({error.strerror}): {_ELSEWHERE}") from error
    return ImagesOnDisk(reader, (count, *shape))


def _hold_in_memory(chunks, shape, count) -> np.ndarray:
    images, held = np.empty((count, *shape), np.uint8), 0
    for chunk in chunks:
        _check_shape(chunk, shape)
        if held + len(chunk) > len(images):
            images.resize((max(held + len(chunk), 2 * held), *shape), refcheck=False)
        images[held : held + len(chunk)] = chunk
        held += len(chunk)
    images.resize((held, *shape), refcheck=False)
    return images


def _check_shape(chunk: np.ndarray, shape: tuple[int, ...]) -> None:
    if chunk.shape[1:] != shape:
        raise ValueError(f"images of {chunk.shape[1:]} among images of {shape}")


class _Reader(io.FileIO):
    """A file that nobody closes: it closes itself."""

    def __del__(self):
        self.close()


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
