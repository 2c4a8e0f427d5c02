"""Writing files so that a crash never leaves half of one."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

TEMPORARY_PREFIX = ".writing-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, with its suffix; renames it to `path` if the block succeeds.

    The file is on the disk, not only in the system's memory, before it gets its name.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/labels.txt") as temporary:
    ...         _ = temporary.write_text("cat")
    ...     pathlib.Path(folder, "labels.txt").read_text()
    'cat'
    """
    path = pathlib.Path(path)
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    os.chmod(name, 0o666 & ~_umask())
    temporary = pathlib.Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
