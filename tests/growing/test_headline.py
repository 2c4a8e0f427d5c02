import pytest

from odn_keras import DepthGrowth
from odn_keras.growing.growth_plan import FitConditions
from odn_keras.growing.headline import headline
from odn_keras.growing.stage import CYCLE, PRUNE, SHRINK, Stage


@pytest.fixture
def growth():
    growth = DepthGrowth(0.9, max_depth=3)
    growth.begin(FitConditions(depth=1, deepest=8, epochs=9, steps=4))
    growth.stages = [Stage(1, CYCLE, 0, 8, 4, steps=8, values=[0.5, 0.8])]
    return growth


def test_a_first_stage_has_one_line(growth):
    assert headline(growth) == "\n== depth 1 of 3: a learning-rate cycle of 2 epochs"


def test_a_deeper_one_says_why(growth):
    growth.stages.append(Stage(2, CYCLE, 8, 14, 4, progress=0.5))
    assert headline(growth).splitlines()[1:] == [
        "== depth 1 ended at 0.8000, below the target of 0.9000: one block deeper",
        "== depth 2 of 3: the rest of the learning-rate cycle, 1.5 epochs",
    ]


def test_a_depth_that_is_left_early_says_what_it_was_forecast_to_end_at(growth):
    left = growth.stages[0]
    left.end_step, left.checks = 20, [(4, 0.5), (6, 0.55), (8, 0.6)]
    growth.stages.append(Stage(2, CYCLE, 8, 14, 4, progress=0.5))
    assert f"depth 1 forecast to end at {growth.forecast(left):.4f}, below" in headline(growth)


def test_a_depth_that_is_only_passed_through_has_no_forecast():
    growth = DepthGrowth(0.9)
    growth.begin(FitConditions(depth=1, deepest=8, epochs=9, steps=4, removal=0.5, results=[1, 3]))
    growth.stages = [
        Stage(2, CYCLE, 0, 12, 4, steps=2, checks=[(1, 0.5), (2, 0.6)]),
        Stage(3, CYCLE, 2, 12, 4, progress=0.1),
    ]
    assert headline(growth).splitlines()[1] == "== depth 2 cannot be pruned as wanted: one block deeper"


@pytest.mark.parametrize(
    ("phase", "end"),
    [(PRUNE, "1 epoch in which channels are removed"), (SHRINK, "1 epoch at smaller and smaller widths")],
)
def test_other_phases_need_no_reason(growth, phase, end):
    growth.stages.append(Stage(1, phase, 8, 12, 4))
    assert headline(growth) == f"\n== depth 1 of 3: {end}"
