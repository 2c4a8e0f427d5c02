import pytest

from odn_keras import InputError, RunOptions


def test_the_defaults_are_good():
    assert RunOptions().dataset == "digits"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("target_accuracy", 0.0, "above 0, got 0.0"),
        ("target_accuracy", 1.5, "at most 1, got 1.5"),
        ("target_accuracy", float("nan"), "got nan"),
        ("backbone", "resnet19", "resnet34.*'resnet19'"),
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
        ("image_size", 0, "at least 1, got 0"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value, message):
    with pytest.raises(InputError, match=message):
        RunOptions(**{name: value})


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
