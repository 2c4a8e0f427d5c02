"""The arrays of an `.npz` file, read piece by piece; nothing is allocated because a header says so."""

import contextlib
import math
import pathlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from odn_keras.data import disk_images
from odn_keras.errors import InputError

MAX_COMPRESSION = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}


@dataclass(frozen=True)
class StoredArray:
    """An array of an `.npz` file, not read yet."""

    path: pathlib.Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        """The array from its beginning to its end, so many rows at a time."""
        starts = range(0, self.shape[0], rows)
        if self.fortran and len(self.shape) > 1:
            whole = self.read()
            yield from (whole[start : start + rows] for start in starts)
            return
        with self._opened() as member:
            for start in starts:
                yield self._take(member, (min(rows, self.shape[0] - start), *self.shape[1:]))

    def read(self) -> np.ndarray:
        """The whole array."""
        needed, free = math.prod(self.shape) * self.dtype.itemsize, disk_images.available_memory()
        if needed > free:
            hint = ": save it with np.ascontiguousarray" if self.fortran else ""
            raise InputError(
                f"{self.key} in {self.path} must be read at once, which needs {needed / 1e9:.1f} GB of memory, "
                f"{free / 1e9:.1f} GB are free{hint}"
            )
        with self._opened() as member:
            return self._take(member, self.shape[::-1]).T if self.fortran else self._take(member, self.shape)

    @contextlib.contextmanager
    def _opened(self):
        with _one_line(self.path), zipfile.ZipFile(self.path) as archive, archive.open(f"{self.key}.npy") as member:
            _read_header(member)
            yield member

    def _take(self, member, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape) * self.dtype.itemsize
        data = member.read(size)
        if len(data) != size:
            raise InputError(f"{self.key} in {self.path} is truncated")
        return np.frombuffer(data, self.dtype).reshape(shape)


def find_arrays(
    path: pathlib.Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, StoredArray]:
    """Finds arrays in an `.npz` file by their names.

    Raises:
        InputError: where the file is none, lacks a required array, or where an array's header contradicts its size.
    """
    keys = list_arrays(path)
    if missing := [key for key in required if key not in keys]:
        held = ", ".join(map(repr, keys[:10])) or "nothing"
        raise InputError(f"{path} lacks {', '.join(missing)} (it holds {held})")
    with _one_line(path), zipfile.ZipFile(path) as archive:
        return {key: _find(path, archive, key) for key in (*required, *optional) if key in keys}


def list_arrays(path: pathlib.Path) -> list[str]:
    """The names of the arrays in an `.npz` file.

    Raises:
        InputError: where the file is none.
    """
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    with _one_line(path), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def _find(path: pathlib.Path, archive: zipfile.ZipFile, key: str) -> StoredArray:
    with archive.open(f"{key}.npy") as member:
        shape, fortran, dtype = _read_header(member)
        entry = archive.getinfo(f"{key}.npy")
        size = entry.file_size - member.tell()
    if dtype.hasobject:
        raise InputError(f"{key} in {path} holds Python objects: save a plain array")
    if not shape or min(shape) < 0 or math.prod(shape) * dtype.itemsize != size:
        raise InputError(f"{key} in {path} is damaged: {dtype} of shape {shape} cannot take {size} bytes")
    most = entry.compress_size * MAX_COMPRESSION.get(entry.compress_type, math.inf)
    if entry.file_size > most + MAX_COMPRESSION[zipfile.ZIP_DEFLATED]:
        raise InputError(f"{key} in {path} is damaged: {entry.compress_size} bytes cannot hold {entry.file_size}")
    return StoredArray(path=path, key=key, shape=shape, dtype=dtype, fortran=fortran)


def _read_header(member) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"NPY version {version[0]}.{version[1]}")
    return (np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0)(member)


@contextlib.contextmanager
def _one_line(path: pathlib.Path):
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy's parser have many for damaged files
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a readable .npz file ({type(error).__name__}: {reason})") from error
