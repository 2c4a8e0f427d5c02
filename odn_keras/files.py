"""Writing files so that a crash never leaves half of one."""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

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


def write_json(value: Any, path: str | os.PathLike) -> None:
    """Writes a value as JSON that a person can read too."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_lines(lines: Iterable[str], path: str | os.PathLike) -> None:
    """Writes a text file of these lines."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
