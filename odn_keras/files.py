"""Writes files and sets of files so that a crash never leaves half of one."""

import contextlib
import json
import os
import pathlib
import secrets
import tempfile
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
        _replace(temporary, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_files(
    folder: str | os.PathLike, earlier: Iterable[str] = (), marker: str | None = None
) -> Iterator[pathlib.Path]:
    """Yields a temporary folder; moves its files to `folder` if the block succeeds, and writes nothing if it fails.

    The temporary folder lies beside `folder`, which is made if need be.

    Args:
        folder: where the files go.
        earlier: glob patterns of files of an earlier time there; those that are not replaced are removed.
        marker: the name of the file that says the others are there: it is moved last.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with replacing_files(f"{parent}/export") as temporary:
    ...         _ = (temporary / "labels.txt").write_text("cat")
    ...     pathlib.Path(parent, "export", "labels.txt").read_text()
    'cat'
    """
    folder = pathlib.Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.parent) as name:
        temporary = pathlib.Path(name)
        yield temporary
        files = sorted(temporary.iterdir(), key=lambda file: (file.name == marker, file.name))
        folder.mkdir(exist_ok=True)
        replaced = {file.name for file in files}
        for file in {file for pattern in earlier for file in folder.glob(pattern)}:
            if file.name not in replaced:
                file.unlink()
        for file in files:
            _replace(file, folder / file.name)


def _replace(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Renames a file once its content is on the disk."""
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(temporary, path)


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
