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


@pytest.mark.parametrize(
    ("phase", "end"),
    [(PRUNE, "1 epoch in which channels are removed"), (SHRINK, "1 epoch at smaller and smaller widths")],
)
def test_other_phases_need_no_reason(growth, phase, end):
    growth.stages.append(Stage(1, phase, 8, 12, 4))
    assert headline(growth) == f"\n== depth 1 of 3: {end}"
