"""The folder of a run: who may write there, which options the run has, and whether it is finished.

While a run is unfinished the folder has a `checkpoint/` with the options in `run.json`; a run is finished once that
file is gone.
"""

import contextlib
import pathlib
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.networks.backbones import difference
from odn_keras.runs import locks
from odn_keras.runs.full_disk import naming_full_disk
from odn_keras.runs.leftovers import remove_derived, remove_events, remove_snapshots, remove_unfinished_writes
from odn_keras.runs.locks import LOCK
from odn_keras.runs.options import FREE_TO_CHANGE, RunOptions
from odn_keras.runs.output_folder import check_place
from odn_keras.runs.run_files import (
    BOARD,
    CHECKPOINT,
    LATENCY,
    RECORD,
    REPORT,
    RUN_FILES,
    SNAPSHOTS,
    SUPERNET,
    is_unfinished,
)
from odn_keras.runs.run_record import options_of, read


class RunFolder:
    """The folder of a run.

    Args:
        path: of the folder, which need not exist.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.checkpoint = path / CHECKPOINT
        self._record = self.checkpoint / RECORD

    @property
    def disk(self) -> str:
        """The folder, or the nearest existing one above it: data are spooled there, where the user has room."""
        path = self.path.absolute()
        return str(next(folder for folder in (path, *path.parents) if folder.exists()))

    @property
    def unfinished(self) -> bool:
        """True where a run was begun and can be resumed."""
        return is_unfinished(self.path)

    @property
    def holds_run(self) -> bool:
        """True where there is a run, finished or not, a part of one, or a snapshot of `odn_keras.Checkpoint`."""
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
        return None if run is None else options_of(run["options"], self.path)

    def record(self) -> dict[str, Any]:
        """The record of the unfinished run: `options`, `precision`, what `run_data` keeps of data, teacher and start.

        Raises:
            InputError: where it cannot be read.
        """
        return read(self._record, ("options", "precision"))

    def report(self, *needed: str) -> dict[str, Any] | None:
        """The report of the finished run; `None` without one.

        Args:
            *needed: the fields that it must have besides `options`.

        Raises:
            InputError: where it cannot be read, lacks one of these, or has one of another type.
        """
        file = self.path / REPORT
        return None if self.unfinished or not file.is_file() else read(file, ("options", *needed))

    def check(self, options: RunOptions, *, overwrite: bool, resume: bool) -> None:
        """Raises `InputError` where a run with these options may not begin, or resume, in this folder."""
        check_place(self.path, options.dataset)
        if resume and overwrite:
            raise InputError("--resume resumes a run, --overwrite replaces it: give one of them")
        sources = (
            ("teacher", options.teacher),
            ("start", options.start_from),
            ("run to continue", options.continue_from),
        )
        for role, file in sources:
            if overwrite and file and self._holds(file):
                raise InputError(f"--overwrite would remove the {role}, {file}: copy it, or choose another --out")
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
        """The error message for a folder that another run holds."""
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
                f"{self.path} holds an unfinished run {with_which}: resume it with --resume "
                f"({self.how_to_resume}), replace it with --overwrite, or choose another --out"
            )
        if differing:
            return (
                f"{self.path} holds a finished run with {differing}: choose another --out, or replace it with "
                "--overwrite"
            )
        return (
            f"the run in {self.path} is finished, with these options: its report is {self.path / 'report.json'}, "
            "--resume shows it, --overwrite trains again"
        )

    def _differing(self, before: RunOptions, options: RunOptions) -> str:
        """The options in which a run differs from those asked for.

        The dataset of an unfinished run is left out: its data are compared by content later.
        """
        free = (*FREE_TO_CHANGE, "dataset") if self.unfinished else FREE_TO_CHANGE
        then = asdict(before)
        differing = {name: now for name, now in asdict(options).items() if now != then[name] and name not in free}
        return "; ".join(
            f"--{name}={difference(then[name], now) if name == 'backbone' else f'{then[name]}, not {now}'}"
            for name, now in differing.items()
        )

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
        """Context manager: locks the folder and clears leftovers of earlier runs, except a run being resumed.

        An interruption leaves the earlier run, or the new one just begun.

        Args:
            options: of the run.
            precision: the Keras dtype policy of the run.
            data: further fields for `record`.
            overwrite: True to replace the run that is here.
            resume: True to resume it.

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
            remove_unfinished_writes(self.path, self.checkpoint)
            if not (resume and self.unfinished):
                self.checkpoint.mkdir(exist_ok=True)
                self._begin({"options": asdict(options), "precision": precision, **(data or {})})
            elif (record := self.record()).pop("clearing", False):
                self._begin(record)
            with naming_full_disk(self.path):
                yield

    def finish(self) -> None:
        """Marks the run as finished: it cannot be resumed any more."""
        self._record.unlink()
        remove_snapshots(self.checkpoint)
        with contextlib.suppress(OSError):  # where somebody else has put something there
            self.checkpoint.rmdir()
        (self.path / LOCK).unlink(missing_ok=True)

    def _begin(self, record: dict[str, Any]) -> None:
        """Replaces an earlier run: the record says `clearing` until no file of that run is left."""
        write_json({**record, "clearing": True}, self._record)
        remove_snapshots(self.checkpoint)
        if (self.path / REPORT).exists():  # there was a run, and these are of it
            remove_derived(self.path)
            (self.path / LATENCY).unlink(missing_ok=True)
        remove_events(self.path / BOARD)
        for name in (SUPERNET, *RUN_FILES):  # the report last
            (self.path / name).unlink(missing_ok=True)
        write_json(record, self._record)
