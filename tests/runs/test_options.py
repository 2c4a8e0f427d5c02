import dataclasses
import json
import pathlib

import numpy as np
import pytest

from odn_keras import InputError, RunOptions
from odn_keras.runs.options import kind_of


def test_the_defaults_are_good():
    assert RunOptions().dataset == "digits"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("target_accuracy", 0.0, "above 0, got 0.0"),
        ("target_accuracy", 1.5, "at most 1, got 1.5$"),
        ("target_accuracy", 95, "at most 1, got 95: as a fraction, 95 % is 0.95"),
        ("prune", 50.0, "below 1, got 50.0: as a fraction, 50 % is 0.5"),
        ("depth", 9, "1 to 8, got 9"),
        ("width", "8", "width must be a whole number, got '8'"),
        ("flip", 1, "flip must be true or false, got 1"),
        ("shift", "far", "shift must be a number, got 'far'"),
        ("epochs", None, "epochs must be a whole number, got None"),
        ("target_accuracy", float("nan"), "finite number, got nan"),
        ("backbone", "resnet19", "unknown backbone .resnet19.: choose one of .*mobilenetv2.* or a .json file"),
        ("width", 0, "at least 1, got 0"),
        ("max_depth", 9, "1 to 8, got 9"),
        ("max_depth", 0, "1 to 8, got 0"),
        ("learning_rate", 0.0, "above 0, got 0.0"),
        ("label_smoothing", 1.0, "below 1, got 1.0"),
        ("stem_stride", 3, "1, 2, got 3"),
        ("cycle_epochs", 61, r"\(61\).*\(60\)"),
        ("exits", "2,9", "1 to 8.*got 9"),
        ("exits", "two", "2,4,6, or all, got 'two'"),
        ("shrink_epochs", 60, r"\(60\).*less than epochs \(60\)"),
        ("alpha", 1.5, "at most 1, got 1.5"),
        ("temperature", 0.0, "above 0, got 0.0"),
        ("exit_weight", 0.0, "above 0, got 0.0"),
        ("slack", -0.1, "at least 0, got -0.1"),
        ("seed", 2**32, "at most"),
        ("image_size", 0, r"from 1 to 4096, as 96 or 96x64 \(height x width\), got 0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value, message):
    with pytest.raises(InputError, match=message):
        RunOptions(**{name: value})


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_every_number_must_be_finite(value):
    numbers = [field.name for field in dataclasses.fields(RunOptions) if kind_of(field) is float]
    assert {"shift", "temperature", "learning_rate", "weight_decay", "slack"} <= set(numbers)
    for name in numbers:
        with pytest.raises(InputError, match=f"^{name} must be a finite number, got {value}"):
            RunOptions(**{name: value})


def test_paths_are_taken_as_paths_too_and_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    options = RunOptions(dataset=pathlib.Path("~/images"), teacher="~/t.keras", data_dir=pathlib.Path("~"))
    assert (options.dataset, options.teacher, options.data_dir) == (
        "/home/me/images",
        "/home/me/t.keras",
        "/home/me",
    )


def test_numbers_of_numpy_become_those_of_json():
    options = RunOptions(width=np.int64(8), shift=np.float32(0.5), zoom=0)
    assert json.loads(json.dumps(dataclasses.asdict(options)))["width"] == 8 and type(options.zoom) is float


def test_a_fixed_depth_needs_no_target_and_is_one_cycle():
    assert RunOptions().target_accuracy == 0.98 and RunOptions(depth=4).target_accuracy is None
    assert RunOptions(depth=4, target_accuracy=0.9).target_accuracy == 0.9
    assert RunOptions(depth=4, epochs=10, shrink_epochs=2).first_cycle == 8
    assert RunOptions(depth=4, epochs=10, prune=0.5).first_cycle == 5
    with pytest.raises(InputError, match="1 to 4, the deepest tried, got 5"):
        RunOptions(depth=4, exits="5")
    with pytest.raises(InputError, match=r"leave max_depth \(6\) out"):
        RunOptions(depth=4, max_depth=6)


def test_pruning_needs_a_cycle_of_its_own_whoever_says_how_long_a_cycle_is():
    RunOptions(prune=0.5, epochs=2)
    with pytest.raises(InputError, match=r"at most half of the epochs \(1\)"):
        RunOptions(prune=0.5, epochs=1)


def test_a_cycle_must_leave_room_for_shrinking():
    with pytest.raises(InputError, match=r"cycle_epochs \(8\) must be at most epochs without shrink_epochs \(7\)"):
        RunOptions(epochs=10, cycle_epochs=8, shrink_epochs=3)


def test_exits_are_depths_up_to_the_deepest_tried():
    assert RunOptions(exits="4,2").exit_depths == (4, 2)
    assert RunOptions(exits="all", max_depth=3).exit_depths == (1, 2, 3)
    with pytest.raises(InputError, match="1 to 3, the deepest tried, got 4"):
        RunOptions(exits="2,4", max_depth=3)
