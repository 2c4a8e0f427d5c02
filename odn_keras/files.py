"""Writing files so that a crash never leaves half of one."""

import contextlib
import json
import os
import pathlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from odn_keras.errors import InputError

TEMPORARY_PREFIX = ".writing-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path beside `path`, with its suffix; renames it to `path` if the block succeeds.

    The file is on the disk, not only in the system's memory, before it gets its name. An `OSError`, of a full disk for
    example, names `path`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(f"{folder}/labels.txt") as temporary:
    ...         _ = temporary.write_text("cat")
    ...     pathlib.Path(folder, "labels.txt").read_text()
    'cat'
    """
    path = pathlib.Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the system applies the umask
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(value: Any, path: str | os.PathLike) -> None:
    """Writes a value as JSON that a person can read too."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_lines(lines: Iterable[str], path: str | os.PathLike) -> None:
    """Writes a text file of these lines.

    Raises:
        InputError: where one of them would be two.
    """
    lines = list(lines)
    for line in lines:
        if {"\n", "\r"} & set(line):
            raise InputError(f"{line!r} has a line break: it cannot be a line of {path}")
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
