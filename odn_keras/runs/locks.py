"""Locks of folders between processes: one process writes, or any number of them read."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

import filelock

from odn_keras.errors import InputError

LOCK = ".lock"
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Busy(InputError):
    """Another process holds the lock."""


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[None]:
    """Context manager: locks an existing folder, so that no other process reads or writes there.

    Raises:
        Busy: where another process does already.
        OSError: where the folder cannot be written.
    """
    try:
        with filelock.FileLock(folder / LOCK, blocking=False):
            yield
    except filelock.Timeout as error:
        raise _busy(folder) from error


@contextlib.contextmanager
def reading(folder: pathlib.Path) -> Iterator[None]:
    """Context manager: locks an existing folder for reading; others may read too, and the last one removes the lock.

    A folder that cannot be written needs no lock.

    Raises:
        Busy: where another process writes there.
    """
    try:
        import fcntl
    except ImportError:  # Windows has exclusive locks only
        with writing(folder):
            yield
        return
    path = folder / LOCK
    while True:
        try:
            file = path.open("a")
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise _busy(folder) from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                break
        file.close()  # another process has removed it meanwhile
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else reads
                path.unlink(missing_ok=True)


def _busy(folder: pathlib.Path) -> Busy:
    return Busy(f"another process works in {folder}: wait for it or choose another --out")
