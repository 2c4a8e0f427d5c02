"""A run is a folder: who may write there, what was asked for, whether it is finished.

While a run is unfinished the folder has a `checkpoint/` with the options in `run.json`; that file's disappearance is
what makes it finished.
"""

import contextlib
import json
import pathlib
import shutil
import tempfile
from dataclasses import asdict
from typing import Any

import filelock

from odn_keras.errors import InputError
from odn_keras.files import TEMPORARY_PREFIX, write_json
from odn_keras.options import FREE_TO_CHANGE, RunOptions

RUN_FILES = ("model.tflite", "model.keras", "labels.txt", "history.csv", "growth.png", "report.json")
SUPERNET = "supernet.keras"  # of a run with exits or shrunk widths only: the network that holds the smaller ones
LOCK = ".lock"
EXPORT, ROUTED, LATENCY = "export", "routed", "latency.json"  # where other commands leave what they make of the run


class RunFolder:
    """The folder of a run.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoint = path / "checkpoint"
        self._record = self.checkpoint / "run.json"

    @property
    def disk(self) -> str:
        """The folder, or the nearest above it that exists: where the user has room, unlike a temporary folder."""
        path = self.path.absolute()
        return str(next(folder for folder in (path, *path.parents) if folder.exists()))

    @property
    def unfinished(self) -> bool:
        """Whether a run was begun here and can be resumed."""
        return self._record.is_file()

    def options(self) -> RunOptions | None:
        """The options of the run that is here, finished or not; `None` without one.

        Raises:
            InputError: where they cannot be read.
        """
        run = self._read_record() if self.unfinished else self.report()
        if run is None:
            return None
        try:
            return RunOptions(**run["options"])
        except TypeError as error:
            raise InputError(f"the run in {self.path} is of another version ({error}): begin anew") from error

    def precision(self) -> str:
        """The dtype policy that the unfinished run trains under."""
        return self._read_record()["precision"]

    def report(self) -> dict[str, Any] | None:
        """The report of the finished run; `None` without one.

        Raises:
            InputError: where it cannot be read.
        """
        file = self.path / "report.json"
        return None if self.unfinished or not file.is_file() else _read(file, {"options"})

    def check(self, options: RunOptions, *, overwrite: bool, resume: bool) -> None:
        """Whether a run with these options may begin or go on here.

        Raises:
            InputError: where it may not.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out must be a folder, {self.path} is a file")
        if resume and overwrite:
            raise InputError("--resume goes on with a run, --overwrite replaces it: give one of them")
        if resume and (before := self.options()):
            self._check_same(before, options)
        elif not overwrite and (self.unfinished or any((self.path / name).exists() for name in (*RUN_FILES, SUPERNET))):
            go_on = ", go on with it with --resume" if self.unfinished else ""
            raise InputError(f"{self.path} holds another run: choose another --out, replace it with --overwrite{go_on}")

    @contextlib.contextmanager
    def claimed(self, options: RunOptions, precision: str, *, overwrite: bool, resume: bool):
        """In the block the folder is this process's alone, and holds nothing of an earlier run but one to resume.

        Raises:
            InputError: where another process works there, it cannot be written, or `check` refuses.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.path):
                    pass
                stack.enter_context(filelock.FileLock(self.path / LOCK, blocking=False))
            except filelock.Timeout as error:
                raise InputError(
                    f"another process works in {self.path}: wait for it or choose another --out"
                ) from error
            except OSError as error:
                raise InputError(f"cannot write to {self.path} ({error.strerror}): choose another --out") from error
            self.check(options, overwrite=overwrite, resume=resume)
            for file in (*self.path.glob(f"{TEMPORARY_PREFIX}*"), *self.checkpoint.glob(f"{TEMPORARY_PREFIX}*")):
                _remove(file)  # of a process that was killed
            if not (resume and self.unfinished):
                self._begin(options, precision)
            yield

    def finish(self) -> None:
        """Ends the run: there is nothing to resume any more."""
        self._record.unlink()
        shutil.rmtree(self.checkpoint)
        (self.path / LOCK).unlink(missing_ok=True)

    def _begin(self, options: RunOptions, precision: str) -> None:
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        self.checkpoint.mkdir()
        write_json({"options": asdict(options), "precision": precision}, self._record)
        if (self.path / "report.json").exists():  # there was a run, and these are of it
            for folder in (EXPORT, ROUTED):
                shutil.rmtree(self.path / folder, ignore_errors=True)
            (self.path / LATENCY).unlink(missing_ok=True)
        for name in (SUPERNET, *reversed(RUN_FILES)):
            (self.path / name).unlink(missing_ok=True)

    def _read_record(self) -> dict[str, Any]:
        return _read(self._record, {"options", "precision"})

    def _check_same(self, before: RunOptions, options: RunOptions) -> None:
        for name, now in asdict(options).items():
            was = getattr(before, name)
            if now != was and name not in FREE_TO_CHANGE:
                raise InputError(f"the run in {self.path} has --{name}={was}, not {now}: --resume changes nothing")


def _read(file: pathlib.Path, names: set[str]) -> dict[str, Any]:
    """A file that a run has written, which has at least these names in it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not (isinstance(found, dict) and names <= found.keys() and isinstance(found["options"], dict)):
            raise ValueError("no run has written it")
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): if it is damaged, train anew with --overwrite") from error
    return found


def _remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def finished_supernet(path: str | pathlib.Path) -> dict[str, Any]:
    """The report of the finished run in a folder, which has left a network that holds smaller ones.

    Raises:
        InputError: where there is none.
    """
    report = finished_report(path)
    if not report.get("supernet"):
        raise InputError(
            f"the run in {path} holds no smaller network: train with --exits=all, --shrink_epochs, or both"
        )
    return report


def finished_report(path: str | pathlib.Path) -> dict[str, Any]:
    """The report of the finished run in a folder.

    Raises:
        InputError: where there is none.
    """
    report = RunFolder(pathlib.Path(path)).report()
    if report is None:
        raise InputError(f"{path} holds no finished run")
    return report


def check_output(path: pathlib.Path, dataset: str | None = None) -> None:
    """Raises `InputError` for a folder that a command must not write to: of a run, or within the dataset."""
    if path.exists() and not path.is_dir():
        raise InputError(f"--out must be a folder, {path} is a file")
    if RunFolder(path).unfinished or (path / "report.json").exists():
        raise InputError(f"--out must be a folder of its own, {path} holds a run")
    if dataset and pathlib.Path(dataset).is_dir():
        images = pathlib.Path(dataset).resolve()
        if path.resolve().is_relative_to(images):
            raise InputError(f"--out must not lie within the dataset: {path} is in {images}; give another --out")
