"""What the tests of reports and pictures share: the stages of a run that nobody trained."""

import pytest

from odn_keras.growing.stage import CYCLE, SETTLE, Stage


@pytest.fixture
def stage():
    """Makes a stage of epochs of four steps."""

    def made(depth, phase, first, end, checks, steps=None, **more):
        values = [accuracy for step, accuracy in checks if step % 4 == 0]
        return Stage(depth, phase, first, end, 4, steps=steps or end - first, checks=checks, values=values, **more)

    return made


@pytest.fixture
def stages(stage):
    return [
        stage(1, CYCLE, 0, 36, [(4, 0.5), (6, 0.55), (8, 0.6)], steps=8, seconds=3.0, training_macs_per_image=10),
        stage(2, SETTLE, 8, 10, [], steps=2, training_macs_per_image=10, fresh_layers=["head"]),
        stage(2, CYCLE, 10, 20, [(12, 0.65), (16, 0.8), (20, 0.9)], seconds=4.0, training_macs_per_image=25),
    ]
