import shlex

import pytest

from odn_keras import DepthGrowth, RunOptions
from odn_keras.growing.stage import CYCLE, PRUNE, SHRINK, Stage
from odn_keras.runs.verdict import DEEPEST, EPOCHS, SMALLER, describe_ending, ending, next_commands, warn_of_int8


def report(reason, deepest=4, left=0, **options):
    asked = {"max_flash": None, "max_arena": None, "max_depth": None, "epochs": 60}
    asked |= {"shift": 0, "rotate": 0, "zoom": 0, "flip": False, **options}
    return {
        "ended": {"reason": reason, "deepest": deepest, "epochs_left": left},
        "options": asked,
        "target_met": False,
        "val_accuracy": 0.9,
        "target_accuracy": 0.95,
        "depth": 3,
        "epochs": 60,
        "max_depth": 8,
        "backbone": "resnet18",
        "width": 16,
    }


def advice(*arguments, **options):
    return " ".join(describe_ending(report(*arguments, **options)))


def test_where_the_epochs_are_used_more_of_them_help():
    assert "more --epochs" in advice(EPOCHS)


def test_where_the_deepest_network_was_tried_a_deeper_one_helps_and_epochs_are_no_advice():
    said = advice(DEEPEST, left=20, max_depth=4)
    assert "--max_depth=4 allows" in said and "20 epochs left" in said and "a larger --max_depth" in said
    assert "more --epochs," not in said


def test_a_given_depth_is_no_deepest_one_tried():
    said = advice(DEEPEST, depth=4)
    assert (
        "the only one that --depth allows" in said and "a larger --depth, or none" in said and "more --epochs" in said
    )
    assert "--max_depth" not in said and "--cycle_epochs" not in said


def test_under_a_budget_a_larger_width_is_no_advice():
    said = advice(DEEPEST, max_flash="64KB")
    assert "a larger budget" in said and "--width" not in said


def test_a_target_that_is_met_needs_no_advice():
    assert describe_ending({**report(EPOCHS), "target_met": True}) == []


@pytest.mark.parametrize("depth, reason", [(4, DEEPEST), (3, EPOCHS)])
def test_why_a_run_ended(depth, reason):
    growth = DepthGrowth(0.9)
    growth.stages = [Stage(depth, CYCLE, 0, 2, steps=2, values=[0.1, 0.2])]
    assert ending(growth, RunOptions(epochs=5, cycle_epochs=1), 4) == {"reason": reason, "deepest": 4, "epochs_left": 3}


@pytest.mark.parametrize(
    "value, steps, phase, reason",
    [
        (0.93, 4, SHRINK, SMALLER),  # met, and lost by shrinking
        (0.85, 2, PRUNE, SMALLER),  # forecast to meet it, so not trained to its end
        (0.85, 4, PRUNE, EPOCHS),  # the best of those that the search could reach
    ],
)
def test_a_target_that_is_lost_in_a_smaller_network_is_not_for_want_of_epochs(value, steps, phase, reason):
    growth = DepthGrowth(0.9)
    growth.stages = [
        Stage(2, CYCLE, 0, 4, steps=steps, values=[value]),
        Stage(2, phase, steps, steps + 2, steps=2, values=[0.88, 0.89]),
    ]
    growth.best = 0.89
    assert ending(growth, RunOptions(epochs=20, cycle_epochs=4), 4)["reason"] == reason
    said = advice(SMALLER, left=9, prune=0.9)
    assert "until it was made smaller" in said and "less of --prune" in said and "more --epochs" not in said


def test_only_a_loss_of_more_than_a_point_is_loud():
    assert warn_of_int8({"test_accuracy": 0.9, "int8_test_accuracy": 0.895}) == []
    assert "2.0 points" in warn_of_int8({"test_accuracy": 0.9, "int8_test_accuracy": 0.88})[0]


def test_the_next_commands_can_be_pasted():
    commands = next_commands({"supernet": {"val_accuracy": {"1": 0.5, "2": 0.6}}}, "runs/my photos")
    assert all(any("runs/my photos" in word for word in shlex.split(command)) for command in commands)
    assert any("route" in command for command in commands)
