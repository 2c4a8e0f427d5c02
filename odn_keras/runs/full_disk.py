"""Errors of a full disk, which the system reports without saying where."""

import contextlib
import errno
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def naming_full_disk(folder: pathlib.Path) -> Iterator[None]:
    """Context manager: names, in an error of a full disk, the folder that is written to or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in DISK_FULL:
            places = [folder, pathlib.Path(tempfile.gettempdir())] if error.errno == errno.ENOSPC else [folder]
            error.filename = str(min(places, key=lambda place: shutil.disk_usage(place).free))
        raise
