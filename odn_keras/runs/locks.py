"""Locks of folders between processes: one that writes there, or any number that read."""

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
    """Context manager: nobody else reads or writes in the folder, which exists.

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
    """Context manager: nobody writes in the folder, which exists; others may read. The last one leaves no trace.

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
