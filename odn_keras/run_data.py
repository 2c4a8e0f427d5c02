"""The data of a run, loaded again: the same images in the same splits, or an error."""

import os
import pathlib
import warnings
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from odn_keras.errors import InputError
from odn_keras.options import FREE_TO_CHANGE, DataOptions

if TYPE_CHECKING:
    from odn_keras.data import Dataset
    from odn_keras.fingerprint import DataFingerprint

FIXED = ("digits", "tfds")  # kinds of data that are the same for everybody


def data_options(run: dict[str, Any], given: dict[str, Any]) -> DataOptions:
    """Which data a run was trained on and where they are now.

    Args:
        run: its report or record.
        given: the options that the user has set; another dataset is taken for the same one elsewhere, as `load_data`
            makes sure.

    Raises:
        InputError: where the user sets an option otherwise than the run, or those of the run cannot be read.
    """
    stored = run["options"]
    ran_on = DataOptions(**{field.name: stored[field.name] for field in fields(DataOptions) if field.name in stored})
    then = asdict(ran_on)
    for name, now in given.items():
        if now != then[name] and name not in (*FREE_TO_CHANGE, "dataset"):
            raise InputError(f"the run has --{name}={then[name]}, not {now}: leave --{name} out")
    path = run.get("dataset_path")
    if path and os.path.exists(path) and os.path.abspath(then["dataset"]) != path:  # used from another folder
        then["dataset"] = path
    return DataOptions(**{**then, **given})


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
    from odn_keras.data import load
    from odn_keras.fingerprint import difference

    dataset = load(options, spool_dir)
    then, now = run.get("data"), _fingerprint(dataset)
    if then:
        if changed := difference(then, now):
            raise InputError(
                f"the data of {folder} are not those it was trained on: {changed}; give the data as they were "
                "(--dataset, where they are elsewhere), or train anew"
            )
    elif now.kind not in FIXED:
        raise InputError(
            f"the run in {folder} is of an earlier version, which kept no record of its data: nobody can tell whether "
            f"{options.dataset} is split as it was; train anew"
        )
    else:
        warnings.warn(
            f"the run in {folder} is of an earlier version, which kept no record of its data: {options.dataset} is "
            "taken to be the same",
            stacklevel=2,
        )
    return dataset


def record_of(dataset: "Dataset", options: DataOptions) -> dict[str, Any]:
    """What a run keeps, as JSON, to know its data again: `data`, and where they are paths `dataset_path`."""
    now = _fingerprint(dataset)
    return {"data": asdict(now), "dataset_path": None if now.kind in FIXED else os.path.abspath(options.dataset)}


def _fingerprint(dataset: "Dataset") -> "DataFingerprint":
    assert dataset.fingerprint is not None, "whatever `load` loads has one"
    return dataset.fingerprint
