"""Removes what earlier runs and commands have left in a folder, and no file of anybody else."""

import contextlib
import pathlib
import shutil

from odn_keras.files import TEMPORARY_PREFIX
from odn_keras.runs.run_files import CHECKPOINT, DERIVED, EVENTS, EXPORT, ROUTED, SNAPSHOTS, is_run


def remove(path: pathlib.Path) -> None:
    """Removes a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_unfinished_writes(*folders: pathlib.Path) -> None:
    """Removes the temporary files and folders of processes that were killed."""
    for folder in folders:
        for file in folder.glob(f"{TEMPORARY_PREFIX}*"):
            remove(file)


def remove_snapshots(checkpoint: pathlib.Path) -> None:
    """Removes what a training has left in its folder of checkpoints."""
    for file in checkpoint.glob(SNAPSHOTS):
        remove(file)
    remove_unfinished_writes(checkpoint)


def remove_events(board: pathlib.Path) -> None:
    """Removes what a run has written for TensorBoard, and the folder where nothing else is in it."""
    if not board.is_dir() or board.is_symlink():
        return
    for file in board.glob(EVENTS):
        file.unlink()
    if not any(path.is_file() for path in board.rglob("*")):
        shutil.rmtree(board)


def remove_derived(run: pathlib.Path) -> None:
    """Removes what other commands have made of a run, within its folder."""
    for folder in [entry for entry in run.iterdir() if entry.is_dir() and not entry.is_symlink()]:
        if is_run(folder) or folder.name == CHECKPOINT:
            continue
        remove_derived(folder)
        markers = [marker for marker in DERIVED if (folder / marker).is_file()]
        for marker in markers:
            for file in [file for pattern in DERIVED[marker] for file in folder.glob(pattern)]:
                remove(file)
            (folder / marker).unlink()
        if markers or folder.name in (EXPORT, ROUTED):
            with contextlib.suppress(OSError):  # not empty: somebody else has put something there
                folder.rmdir()
