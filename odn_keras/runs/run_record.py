"""Reads and checks what a run has written: `report.json` once it is finished, `run.json` before."""

import json
import math
import pathlib
from typing import Any

from odn_keras.errors import InputError
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.options import RunOptions


def read(file: pathlib.Path, needed: tuple[str, ...]) -> dict[str, Any]:
    """Reads a file that a run has written, and checks every field that commands use.

    Args:
        file: `report.json` or `run.json`.
        needed: the fields that it must have.

    Raises:
        InputError: where it cannot be read, lacks a field, or has one of another type.
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
        raise InputError(f"{file} cannot be read ({error}): if it is damaged, train again with --overwrite") from error
    return found


def options_of(stored: dict[str, Any], path: pathlib.Path) -> RunOptions:
    """The options of a run; those that an earlier version did not have get their defaults.

    Args:
        stored: as `report.json` or `run.json` has them.
        path: of the run, for messages.

    Raises:
        InputError: for options of another version.
    """
    unknown = sorted(stored.keys() - RunOptions.__dataclass_fields__.keys())
    if unknown:
        named = ", ".join(f"--{name}={stored[name]}" for name in unknown)
        raise InputError(
            f"the run in {path} is of another version, with {named}, which this one does not know: finish it with that "
            "version of odn_keras, or train again with --overwrite"
        )
    try:
        return RunOptions(**stored)
    except InputError as error:
        raise InputError(f"the options of the run in {path} cannot be read ({error}): train again") from error


# The fields that commands use, each with its check, which holds wherever the field is there at all.


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
        and all(_is_text(value.get(name, "")) for name in ("kernels", "device"))
        and all(
            number is None or _is_number(number)
            for name, number in value.items()
            if name not in ("exceeded", "kernels", "device")
        )
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
    "start_path": _or_none(_is_text),
    "start_digest": _or_none(_is_text),
    "carried": _or_none(_is_object),
    "supernet": _or_none(_is_supernet),
    "pruning": _or_none(_is_pruning),
    "budget": _or_none(_is_budget),
    "ended": _is_ending,
    "val_score": _is_number,
    "continued": _or_none(_is_object),
    "target_metric": _is_text,
    "test_scores": _is_object,
}
