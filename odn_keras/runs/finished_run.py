"""Finished runs, as the commands that make something of one read them."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from odn_keras.errors import InputError
from odn_keras.runs import locks
from odn_keras.runs.run_folder import RunFolder


def finished_report(path: str | pathlib.Path, *needed: str) -> dict[str, Any]:
    """The report of the finished run in a folder.

    Args:
        path: of the folder.
        *needed: the fields that it must have besides `options`.

    Raises:
        InputError: where there is none, or it lacks one of these.
    """
    folder = RunFolder(pathlib.Path(path))
    report = folder.report(*needed)
    if report is None and folder.unfinished:
        raise InputError(f"the run in {path} is unfinished: to finish it, {folder.how_to_resume}")
    if report is None:
        raise InputError(f"{path} holds no finished run")
    return report


def finished_supernet(path: str | pathlib.Path, *needed: str) -> dict[str, Any]:
    """Like `finished_report`, for a run that has left a network that holds smaller ones.

    Raises:
        InputError: where there is no such run.
    """
    report = finished_report(path, *needed)
    if not report.get("supernet"):
        raise InputError(
            f"the run in {path} holds no smaller network: train with --exits=all, --shrink_epochs, or both"
        )
    return finished_report(path, "depth", *needed)


@contextlib.contextmanager
def in_use(path: str | pathlib.Path) -> Iterator[None]:
    """Context manager: locks a run's folder for reading: nobody trains there meanwhile.

    Raises:
        InputError: where another process trains there.
    """
    path = pathlib.Path(path)
    if not path.is_dir():  # `finished_report` says that it holds no run
        yield
        return
    with locks.reading(path):
        yield
