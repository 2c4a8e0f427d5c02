"""A run is a folder: who may write there, what was asked for, whether it is finished.

While a run is unfinished the folder has a `checkpoint/` with the options in `run.json`; that file's disappearance is
what makes it finished.
"""

import contextlib
import errno
import json
import math
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from odn_keras.errors import InputError
from odn_keras.files import TEMPORARY_PREFIX, write_json
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs import locks
from odn_keras.runs.locks import LOCK
from odn_keras.runs.options import FREE_TO_CHANGE, RunOptions

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # for which the system does not say where

RUN_FILES = (
    "model.tflite",
    "model.keras",
    "labels.txt",
    "history.csv",
    "growth.png",
    "augmentation.png",
    "report.json",
)
SNAPSHOTS = "epoch[0-9]*-step[0-9]*.npz"  # what `odn_keras.Checkpoint` writes
SUPERNET = "supernet.keras"  # of a run with exits or shrunk widths only: the network that holds the smaller ones
EXPORT, ROUTED, LATENCY = "export", "routed", "latency.json"  # where other commands leave what they make of the run

# What other commands write, by the file that tells a folder of theirs.
_EXPORTED = ("model.tflite", "android.tflite", "model_vela.tflite", "model.cc", "model.h", "labels.txt")
_DERIVED = {
    "export.json": _EXPORTED,
    "specialize.json": (*_EXPORTED, "model.keras", ".finetuning"),
    "frontier.json": ("frontier.png", "frontier.csv"),
    "routing.json": ("stage[0-9]*.tflite", "stage[0-9]*.cc", "stage[0-9]*.h", "routing.h", "routing.png", "labels.txt"),
}


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

    @property
    def holds_run(self) -> bool:
        """Whether there is a run, finished or not, a part of one, or what a `Checkpoint` of Python has left."""
        return (
            self.unfinished
            or any((self.path / name).exists() for name in (*RUN_FILES, SUPERNET))
            or any(self.checkpoint.glob(SNAPSHOTS))
        )

    @property
    def how_to_resume(self) -> str:
        """The command that resumes the run."""
        return f"python -m odn_keras.train --resume --out={shlex.quote(str(self.path))}"

    def options(self) -> RunOptions | None:
        """The options of the run that is here, finished or not; `None` without one.

        Raises:
            InputError: where they cannot be read, or are of another version.
        """
        run = self.record() if self.unfinished else self.report()
        return None if run is None else _run_options(run["options"], self.path)

    def record(self) -> dict[str, Any]:
        """What is known of the unfinished run: `options`, `precision`, and of later versions what `run_data` keeps.

        Raises:
            InputError: where it cannot be read.
        """
        return _read(self._record, ("options", "precision"))

    def report(self, *needed: str) -> dict[str, Any] | None:
        """The report of the finished run; `None` without one.

        Args:
            *needed: the fields that it must have besides `options`.

        Raises:
            InputError: where it cannot be read, lacks one of these, or has one of another type.
        """
        file = self.path / "report.json"
        return None if self.unfinished or not file.is_file() else _read(file, ("options", *needed))

    def check(self, options: RunOptions, *, overwrite: bool, resume: bool) -> None:
        """Whether a run with these options may begin or go on here.

        Raises:
            InputError: where it may not.
        """
        check_place(self.path, options.dataset)
        if resume and overwrite:
            raise InputError("--resume goes on with a run, --overwrite replaces it: give one of them")
        if overwrite and options.teacher and self._holds(options.teacher):
            raise InputError(
                f"--overwrite would remove the teacher, {options.teacher}: copy it, or choose another --out"
            )
        if overwrite or not self.holds_run:
            return
        if resume:
            before = self.options()
            if before and (differing := self._differing(before, options)):
                raise InputError(f"the run in {self.path} has {differing}: --resume changes nothing")
            if before:
                return
        raise InputError(self._taken(options))

    def _holds(self, file: str) -> bool:
        return pathlib.Path(file).resolve().is_relative_to(self.path.resolve())

    def _taken(self, options: RunOptions) -> str:
        """The line for a folder that another run holds."""
        try:
            before = self.options()
        except InputError:  # no more is known
            before = None
        if before is None:
            return (
                f"{self.path} holds another run, or a part of one: choose another --out, or replace it with --overwrite"
            )
        differing = self._differing(before, options)
        if self.unfinished:
            with_which = f"with {differing}" if differing else "with these options"
            return (
                f"{self.path} holds an unfinished run {with_which}: go on with it with --resume "
                f"({self.how_to_resume}), replace it with --overwrite, or choose another --out"
            )
        if differing:
            return (
                f"{self.path} holds a finished run with {differing}: choose another --out, or replace it with "
                "--overwrite"
            )
        return (
            f"the run in {self.path} is finished, with these options: its report is {self.path / 'report.json'}, "
            "--resume shows it, --overwrite trains anew"
        )

    def _differing(self, before: RunOptions, options: RunOptions) -> str:
        """The options in which a run differs from what is asked for; those of an unfinished run's data are compared
        by what they are, not by their name.
        """
        free = (*FREE_TO_CHANGE, "dataset") if self.unfinished else FREE_TO_CHANGE
        then = asdict(before)
        differing = [
            f"--{name}={then[name]}, not {now}"
            for name, now in asdict(options).items()
            if now != then[name] and name not in free
        ]
        return "; ".join(differing)

    @contextlib.contextmanager
    def claimed(
        self,
        options: RunOptions,
        precision: str,
        data: dict[str, Any] | None = None,
        *,
        overwrite: bool,
        resume: bool,
    ) -> Iterator[None]:
        """Context manager: locks the folder and clears it of earlier runs, but for one that is resumed.

        Whatever interrupts it leaves the earlier run, or the new one just begun.

        Args:
            options, precision: of the run.
            data: what else `record` is to have.
            overwrite, resume: as in `check`.

        Raises:
            InputError: where another process works there or has just finished the run that is to be resumed, it cannot
                be written, or `check` refuses.
        """
        with contextlib.ExitStack() as stack:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.path):
                    pass
                stack.enter_context(locks.writing(self.path))
            except OSError as error:
                raise InputError(f"cannot write to {self.path} ({error.strerror}): choose another --out") from error
            self.check(options, overwrite=overwrite, resume=resume)
            if resume and self.report() is not None:
                raise InputError(f"another process has just finished the run in {self.path}: --resume shows it")
            for file in (*self.path.glob(f"{TEMPORARY_PREFIX}*"), *self.checkpoint.glob(f"{TEMPORARY_PREFIX}*")):
                _remove(file)  # of a process that was killed
            if not (resume and self.unfinished):
                self.checkpoint.mkdir(exist_ok=True)
                self._begin({"options": asdict(options), "precision": precision, **(data or {})})
            elif (record := self.record()).pop("clearing", False):
                self._begin(record)
            with _naming(self.path):
                yield

    def finish(self) -> None:
        """Ends the run: there is nothing to resume any more."""
        self._record.unlink()
        self._remove_snapshots()
        with contextlib.suppress(OSError):  # where somebody else has put something there
            self.checkpoint.rmdir()
        (self.path / LOCK).unlink(missing_ok=True)

    def _begin(self, record: dict[str, Any]) -> None:
        """From the first line on it is the new run that is here; `clearing` until nothing of an earlier one is."""
        write_json({**record, "clearing": True}, self._record)
        self._remove_snapshots()
        if (self.path / "report.json").exists():  # there was a run, and these are of it
            _remove_derived(self.path)
            (self.path / LATENCY).unlink(missing_ok=True)
        for name in (SUPERNET, *RUN_FILES):  # the report last
            (self.path / name).unlink(missing_ok=True)
        write_json(record, self._record)

    def _remove_snapshots(self) -> None:
        """Removes what a training has left in the folder of checkpoints, and nothing that somebody else put there."""
        for pattern in (SNAPSHOTS, f"{TEMPORARY_PREFIX}*"):
            for file in self.checkpoint.glob(pattern):
                _remove(file)


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
    """Like `finished_report`, of a run that has left a network that holds smaller ones.

    Raises:
        InputError: where there is none, or it has left no such network.
    """
    report = finished_report(path, *needed)
    if not report.get("supernet"):
        raise InputError(
            f"the run in {path} holds no smaller network: train with --exits=all, --shrink_epochs, or both"
        )
    return finished_report(path, "depth", *needed)


@contextlib.contextmanager
def in_use(path: str | pathlib.Path) -> Iterator[None]:
    """Context manager: while a command reads the run in a folder nobody trains there.

    Raises:
        InputError: where somebody does.
    """
    path = pathlib.Path(path)
    if not path.is_dir():  # nor does it hold a run, as whoever reads it says
        yield
        return
    with locks.reading(path):
        yield


@contextlib.contextmanager
def output(path: str | pathlib.Path, dataset: str | None = None) -> Iterator[pathlib.Path]:
    """Context manager: a folder that a command writes to and no other process meanwhile; removed if left empty.

    Args:
        path: of the folder, made if need be.
        dataset: a folder within which it must not lie.

    Raises:
        InputError: where it is no folder, holds a run, lies within the dataset, cannot be written, or another process
            works there.
    """
    path = pathlib.Path(path)
    check_output(path, dataset)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locks.writing(path), _naming(path):
            try:
                yield path
            finally:
                (path / LOCK).unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):  # until one is not empty
            for folder in made:
                folder.rmdir()


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Context manager: names, in an error of a full disk, the folder that is written to or the temporary one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in DISK_FULL:
            places = [path, pathlib.Path(tempfile.gettempdir())] if error.errno == errno.ENOSPC else [path]
            error.filename = str(min(places, key=lambda place: shutil.disk_usage(place).free))
        raise


def check_output(path: pathlib.Path, dataset: str | None = None, *markers: str) -> None:
    """Raises `InputError` for a folder that a command must not write to.

    Args:
        path, dataset: see `output`.
        markers: the files, keys of `_DERIVED`, that tell what may be replaced: without one of them in the folder it
            must not hold what the command would replace.
    """
    check_place(path, dataset)
    if RunFolder(path).unfinished or (path / "report.json").exists():
        raise InputError(f"--out must be a folder of its own, {path} holds a run")
    if any((path / marker).exists() for marker in markers):
        return
    patterns = {pattern for marker in markers for pattern in _DERIVED[marker] if not pattern.startswith(".")}
    if found := sorted(file.name for pattern in patterns for file in path.glob(pattern)):
        raise InputError(
            f"{path} holds {', '.join(found[:3])}, which this would replace, and no {markers[0]} that says it may: "
            "choose another --out, or take them away"
        )


def check_place(path: pathlib.Path, dataset: str | None = None) -> None:
    """Raises `InputError` for a file, and for a folder that would become a class of the dataset."""
    if path.exists() and not path.is_dir():
        raise InputError(f"--out must be a folder, {path} is a file")
    if dataset and pathlib.Path(dataset).is_dir():
        images = pathlib.Path(dataset).resolve()
        if path.resolve().is_relative_to(images):
            raise InputError(f"--out must not lie within the dataset: {path} is in {images}; give another --out")


def _remove_derived(run: pathlib.Path) -> None:
    """Removes what other commands have made of a run within its folder, and nothing that somebody else put there."""
    for folder in [entry for entry in run.iterdir() if entry.is_dir() and not entry.is_symlink()]:
        if RunFolder(folder).unfinished or (folder / "report.json").exists() or folder.name == "checkpoint":
            continue
        _remove_derived(folder)
        markers = [marker for marker in _DERIVED if (folder / marker).is_file()]
        for marker in markers:
            for pattern in _DERIVED[marker]:
                for file in folder.glob(pattern):
                    _remove(file)
            (folder / marker).unlink()
        if markers or folder.name in (EXPORT, ROUTED):
            with contextlib.suppress(OSError):  # where something else is left in it
                folder.rmdir()


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# What commands use of a report or a record: each field with what it must be, wherever it is there at all.


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(holds):
    return lambda value: value is None or holds(value)


def _is_supernet(value: Any) -> bool:
    try:
        NetworkSpec(**value["spec"])
    except (InputError, KeyError, TypeError, ValueError):
        return False
    accuracies = value.get("val_accuracy", {})
    return (
        isinstance(value.get("widths"), bool) and _is_object(accuracies) and all(map(_is_number, accuracies.values()))
    )


def _is_pruning(value: Any) -> bool:
    return _is_object(value) and all(
        _is_number(value.get(name)) for name in ("params_before", "param_reduction", "val_accuracy_before")
    )


def _is_budget(value: Any) -> bool:
    return (
        _is_object(value)
        and isinstance(value.get("exceeded"), list)
        and all(number is None or _is_number(number) for name, number in value.items() if name != "exceeded")
    )


def _is_ending(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_text(value.get("reason"))
        and all(_is_count(value.get(name)) or value.get(name) == 0 for name in ("deepest", "epochs_left"))
    )


SHOWN = {  # in the closing table
    "depth": _is_count, "max_depth": _is_count, "target_accuracy": _or_none(_is_number), "val_accuracy": _is_number,
    "target_met": _or_none(lambda value: isinstance(value, bool)), "params": _is_count, "full_params": _is_count,
    "param_reduction": _is_number, "macs": _is_count, "full_macs": _is_count, "training_macs": _is_count,
    "epochs": _is_count, "test_accuracy": _is_number, "int8_test_accuracy": _is_number, "tflite_bytes": _is_count,
    "float_full_bytes": _is_count, "memory_reduction": _is_number, "predicted_arena_bytes": _is_count,
    "full_arena_bytes": _is_count,
}  # fmt: skip
_FIELDS = {
    **SHOWN,
    "options": _is_object,
    "precision": _is_text,
    "data": _or_none(_is_object),
    "dataset_path": _or_none(_is_text),
    "data_dir_path": _or_none(_is_text),
    "teacher_path": _or_none(_is_text),
    "teacher_digest": _or_none(_is_text),
    "supernet": _or_none(_is_supernet),
    "pruning": _or_none(_is_pruning),
    "budget": _or_none(_is_budget),
    "ended": _is_ending,
}


def _read(file: pathlib.Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """A file that a run has written, checked: it has these fields, and whatever else is used of it is as it should be.

    Raises:
        InputError: where it cannot be read, or is none.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        for name in needed:
            if name not in found:
                raise ValueError(f"it has no {name!r}")
        for name, holds in _FIELDS.items():
            if name in found and not holds(found[name]):
                raise ValueError(f"its {name!r} is not what a run writes: {str(found[name])[:50]}")
        if found.get("supernet") and "depth" in found:
            NetworkSpec(**found["supernet"]["spec"]).check_depth(found["depth"])
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}): if it is damaged, train anew with --overwrite") from error
    return found


def _run_options(stored: dict[str, Any], path: pathlib.Path) -> RunOptions:
    """The options of a run; those that it does not know of yet have their defaults."""
    unknown = sorted(stored.keys() - RunOptions.__dataclass_fields__.keys())
    if unknown:
        named = ", ".join(f"--{name}={stored[name]}" for name in unknown)
        raise InputError(
            f"the run in {path} is of another version, with {named}, which this one does not know: finish it with that "
            "version of odn_keras, or train anew with --overwrite"
        )
    try:
        return RunOptions(**stored)
    except InputError as error:
        raise InputError(f"the options of the run in {path} cannot be read ({error}): train anew") from error
