"""Finds the data, the teacher and the start of a run again, and checks that they are the same."""

import hashlib
import os
import pathlib
import warnings
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from odn_keras.errors import InputError
from odn_keras.runs.options import FREE_TO_CHANGE, DataOptions
from odn_keras.runs.run_files import MODEL, is_unfinished

if TYPE_CHECKING:
    from odn_keras.data.datasets import Dataset
    from odn_keras.data.fingerprint import DataFingerprint

FIXED = ("digits", "tfds")  # kinds of data that are the same for everybody


def data_options(run: dict[str, Any], given: dict[str, Any]) -> DataOptions:
    """The options of the data that a run was trained on, and where they are now.

    Args:
        run: its report or record.
        given: the options that the user has set; another dataset is taken for the same one elsewhere, as `load_data`
            makes sure.

    Raises:
        InputError: where the user sets an option otherwise than the run, those of the run cannot be read, or its
            folder or file is gone: TFDS is not asked for a set that happens to have its name.
    """
    stored = run["options"]
    ran_on = DataOptions(**{field.name: stored[field.name] for field in fields(DataOptions) if field.name in stored})
    then = asdict(ran_on)
    for name, now in given.items():
        if now != then[name] and name not in (*FREE_TO_CHANGE, "dataset"):
            raise InputError(f"the run has --{name}={then[name]}, not {now}: leave --{name} out")
    for name in ("dataset", "data_dir"):
        then[name] = then[name] and _where(then[name], run.get(f"{name}_path"))
    path = run.get("dataset_path")
    if path and "dataset" not in given and not os.path.exists(then["dataset"]):
        raise InputError(f"the data of the run are no longer in {path}: say with --dataset where they are now")
    return DataOptions(**{**then, **given})


def load_by_options(options: DataOptions, spool_dir: str | pathlib.Path | None = None) -> "Dataset":
    """`odn_keras.load_dataset` with the options of a command; images not held in memory go to `spool_dir`."""
    from odn_keras.data.datasets import load_dataset

    arguments = {field.name: getattr(options, field.name) for field in fields(DataOptions)}
    return load_dataset(arguments.pop("dataset"), spool_dir=spool_dir, **arguments)


def load_data(run: dict[str, Any], options: DataOptions, folder: str | pathlib.Path, spool_dir=None) -> "Dataset":
    """Loads the data of a run and compares them with what they were.

    Args:
        run: its report or record.
        options: what `data_options` returned.
        folder: of the run.
        spool_dir: as in `odn_keras.load_dataset`.

    Raises:
        InputError: where they are not the same, or, of a run of an earlier version, might not be.
    """
    from odn_keras.data.fingerprint import difference

    dataset = load_by_options(options, spool_dir)
    then, now = run.get("data"), _fingerprint(dataset)
    if then:
        if changed := difference(then, now):
            raise InputError(
                f"the data of {folder} are not those it was trained on: {changed}; give the data as they were "
                "(--dataset, where they are elsewhere), or train again"
            )
    elif now.kind not in FIXED:
        raise InputError(
            f"the run in {folder} is of an earlier version, which kept no record of its data: whether "
            f"{options.dataset} is split in the same way is unknown; train again"
        )
    else:
        warnings.warn(
            f"the run in {folder} is of an earlier version, which kept no record of its data: {options.dataset} is "
            "taken to be the same",
            stacklevel=2,
        )
    return dataset


def record_of(dataset: "Dataset", options: DataOptions) -> dict[str, Any]:
    """The fields by which a run recognises its data, as JSON: `data`, `dataset_path` and `data_dir_path`."""
    now = _fingerprint(dataset)
    return {
        "data": asdict(now),
        "dataset_path": None if now.kind in FIXED else os.path.abspath(options.dataset),
        "data_dir_path": options.data_dir and os.path.abspath(options.data_dir),
    }


def teacher_record(teacher: str | None, run: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fields by which a run recognises its teacher, as JSON: `teacher_path` and `teacher_digest` of the file.

    Args:
        teacher: the path that the user has given; `None` without a teacher.
        run: the record of a run that is resumed.

    Raises:
        InputError: where there is no such file, or another than the run was begun with.
    """
    return _file_record("teacher", teacher, run)


def start_record(start: str | None, run: dict[str, Any] | None = None) -> dict[str, Any]:
    """The fields by which a run recognises what it started from, as JSON: `start_path` and `start_digest` of the file.

    Args:
        start: the folder of a finished run or a `.keras` file, as the user has given it; `None` without a start.
        run: the record of a run that is resumed.

    Raises:
        InputError: where there is no such file or finished run, or another than the run was begun with.
    """
    if start is not None and os.path.isdir(start):
        if is_unfinished(pathlib.Path(start)):
            raise InputError(f"the run in {start} is not finished: resume it first, or start from another")
        start = os.path.join(start, MODEL)
    return _file_record("start", start, run)


def _file_record(role: str, given: str | None, run: dict[str, Any] | None) -> dict[str, Any]:
    """Path and digest of a file that a run needs in this role; those of the run that is resumed must be the same."""
    if given is None:
        return {f"{role}_path": None, f"{role}_digest": None}
    path = os.path.abspath(_where(given, (run or {}).get(f"{role}_path")))
    try:
        digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except OSError as error:
        raise InputError(f"cannot read the {role} {path} ({error.strerror})") from error
    if (run or {}).get(f"{role}_digest") not in (None, digest):
        raise InputError(
            f"the {role} {path} is not the one that the run was begun with: put that one back, or train again"
        )
    return {f"{role}_path": path, f"{role}_digest": digest}


def _where(given: str, path: str | None) -> str:
    """The path that a run was given; where the working folder is another one now, the absolute path of then."""
    return path if path and os.path.exists(path) and os.path.abspath(given) != path else given


def _fingerprint(dataset: "Dataset") -> "DataFingerprint":
    assert dataset.fingerprint is not None, "whatever `load_dataset` loads has one"
    return dataset.fingerprint
