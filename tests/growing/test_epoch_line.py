import pytest

from odn_keras import DepthGrowth
from odn_keras.growing.epoch_line import EpochLine
from odn_keras.growing.growth_plan import FitConditions
from odn_keras.growing.stage import CYCLE, SHRINK, Stage


@pytest.fixture
def growth():
    """Eight of nine epochs of four steps are left, at depth 1 of 3, which costs a third of depth 3."""
    growth = DepthGrowth(0.9, max_depth=3, cycle_epochs=4)
    growth.begin(FitConditions(depth=1, deepest=8, epochs=9, steps=4))
    growth.stages = [Stage(1, CYCLE, 0, 16, 4, steps=4, values=[0.5], checks=[(4, 0.5)], forecasts=[0.7])]
    growth.best = 0.5
    return growth


@pytest.fixture
def printed(growth, monkeypatch, capsys):
    """What is printed after an epoch whose steps take two seconds each, and whose first took longer."""

    def made(*, whole):
        clock = iter([0.0, 10.0, 16.0])  # begins, first step done, ends: three steps are timed
        monkeypatch.setattr("time.perf_counter", lambda: next(clock))
        line = EpochLine(growth, whole=whole)
        line.set_params({"epochs": 9})
        line.on_epoch_begin(0)
        for batch in range(4):
            line.on_train_batch_end(batch)
        line.on_epoch_end(0, {"accuracy": 0.4, "val_accuracy": 0.5})
        return capsys.readouterr().out

    return made


def test_a_log_has_everything_in_one_line(printed):
    assert printed(whole=True) == (
        "epoch 1/9, depth 1, 16 s: accuracy 0.4000, val_accuracy 0.5000; forecast 0.7000 (target 0.9000); "
        "left of this cycle 24 s, of the run at most about 3 min 12 s\n"  # 32 steps at three times the cost
    )


def test_beside_a_progress_bar_only_what_that_does_not_say(printed, growth):
    growth.stages[-1].values, growth.stages[-1].forecasts = [0.95], [None]
    assert printed(whole=False) == "left of this cycle 24 s\n"  # the target is met: the run ends with the cycle


def test_a_stage_that_began_at_the_end_of_an_epoch_has_no_time_left_yet(printed, growth):
    growth.stages[-1].epoch_steps = 13  # three timed steps are less than a quarter of them
    assert printed(whole=False) == "forecast 0.7000 (target 0.9000)\n"


def test_a_stage_that_is_over_has_no_time_left(printed, growth):
    growth.stages[-1].end_step = 4
    assert printed(whole=False) == "forecast 0.7000 (target 0.9000)\n"


def test_epochs_that_shrink_widths_count_for_the_run():
    growth = DepthGrowth(None, max_depth=1, cycle_epochs=4, shrink_epochs=2)
    plan_of = growth.begin(FitConditions(depth=1, deepest=8, epochs=6, steps=4))
    growth.stages = [plan_of]
    growth.stages[0].steps = 8
    assert growth.plan.most_steps_left(growth.stages) == 16 and growth.plan.dearest_ahead(growth.stages) == 1
    growth.stages.append(Stage(1, SHRINK, 16, 24, 4, steps=4))
    assert growth.plan.most_steps_left(growth.stages) == 4
