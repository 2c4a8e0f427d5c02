"""Folders that commands write to: which ones `--out` may name, and that one process at a time writes there."""

import contextlib
import pathlib
from collections.abc import Iterator

from odn_keras.errors import InputError
from odn_keras.runs import locks
from odn_keras.runs.full_disk import naming_full_disk
from odn_keras.runs.locks import LOCK
from odn_keras.runs.run_files import DERIVED, is_run

OUT = "--out"


@contextlib.contextmanager
def output(path: str | pathlib.Path, dataset: str | None = None, *, flag: str = OUT) -> Iterator[pathlib.Path]:
    """Context manager: locks a folder that a command writes to; removes it if it is left empty.

    Args:
        path: of the folder, made if need be.
        dataset: a folder within which it must not lie.
        flag: that names the folder, for messages.

    Raises:
        InputError: where it is no folder, holds a run, lies within the dataset, cannot be written, or another process
            works there.
    """
    path = pathlib.Path(path)
    check_output(path, dataset, flag=flag)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locks.writing(path), naming_full_disk(path):
            try:
                yield path
            finally:
                (path / LOCK).unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):  # until one is not empty
            for folder in made:
                folder.rmdir()


def check_place(path: pathlib.Path, dataset: str | None = None, flag: str = OUT) -> None:
    """Raises `InputError` for a file, and for a folder that would become a class of the dataset."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{flag} must be a folder, {path} is a file")
    if dataset and pathlib.Path(dataset).is_dir():
        images = pathlib.Path(dataset).resolve()
        if path.resolve().is_relative_to(images):
            raise InputError(f"{flag} must not lie within the dataset: {path} is in {images}; give another {flag}")


def check_output(path: pathlib.Path, dataset: str | None = None, *markers: str, flag: str = OUT) -> None:
    """Raises `InputError` for a folder that a command must not write to.

    Args:
        path: of the folder.
        dataset: a folder within which it must not lie.
        *markers: keys of `DERIVED`: a folder that has none of these files must not hold what the command would
            replace either.
        flag: that names the folder, for messages.
    """
    check_place(path, dataset, flag)
    if is_run(path):
        raise InputError(f"{flag} must be a folder of its own, {path} holds a run")
    if any((path / marker).exists() for marker in markers):
        return
    patterns = {pattern for marker in markers for pattern in DERIVED[marker] if not pattern.startswith(".")}
    if found := sorted(file.name for pattern in patterns for file in path.glob(pattern)):
        raise InputError(
            f"{path} holds {', '.join(found[:3])}, which this would replace, and no {markers[0]} that says it may: "
            f"choose another {flag}, or take them away"
        )


def check_not_of_a_run(out: pathlib.Path, *names: str) -> None:
    """Raises `InputError` for a folder of one of these names within a run, and for what lies in such a folder."""
    out = out.resolve()
    for folder in (out, *out.parents):
        if folder.name in names and is_run(folder.parent):
            raise InputError(f"--out must be a folder of its own, {folder} belongs to the run in {folder.parent}")
