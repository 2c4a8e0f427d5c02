"""Folders of a run that belong to one command, and are no place for the files of another."""

import pathlib

from odn_keras.errors import InputError
from odn_keras.runs.run_folder import RunFolder

CHECKPOINT = "checkpoint"


def check_not_of_a_run(out: pathlib.Path, *names: str) -> None:
    """Refuses the folders of these names within a run, and whatever lies in them.

    Raises:
        InputError: where `out` is one.
    """
    out = out.resolve()
    for folder in (out, *out.parents):
        run = RunFolder(folder.parent)
        if folder.name in names and (run.unfinished or (folder.parent / "report.json").is_file()):
            raise InputError(f"--out must be a folder of its own, {folder} belongs to the run in {folder.parent}")
