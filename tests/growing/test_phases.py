import types

import pytest

from odn_keras.growing import phases
from odn_keras.growing.phases import PHASES, Phase, PhaseContext
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, RECOVER, SETTLE, SHRINK, Stage


class Training:
    """Writes down what is done to the network."""

    depth, network, fitted = 1, None, None

    def __init__(self):
        self.done = []

    def deepen(self, carried_share):
        self.done.append(("deepen", carried_share))
        return ["head"]

    def __getattr__(self, name):
        return lambda *arguments: self.done.append((name, *arguments) if arguments else name)


def enter(phase, depth, earlier=None):
    """What entering a phase at a depth does to a network of depth 1 after another phase: (phase, what is done)."""
    training = Training()
    context = PhaseContext(training, pruning=None, carried=1)
    before = PHASES[earlier](Stage(1, earlier, 0, 8, 4), context) if earlier else None
    found = PHASES[phase](Stage(depth, phase, 8, 16, 4, carried_share=0.5), context)
    found.enter(before)
    return found, training.done


@pytest.mark.parametrize(
    ("phase", "depth", "earlier", "expected"),
    [
        (CYCLE, 1, None, ["take_raw_weights"]),
        (CYCLE, 2, CYCLE, ["take_raw_weights", ("deepen", 0.5)]),
        (SETTLE, 2, CYCLE, ["take_raw_weights", ("deepen", 0.5)]),
        (CYCLE, 1, SETTLE, ["take_raw_weights"]),
        (HEAD, 1, None, []),
        (CYCLE, 1, HEAD, ["take_raw_weights"]),
        (CYCLE, 1, CYCLE, [("take_best_at", 1)]),
        (PRUNE, 1, CYCLE, [("take_best_at", 1)]),
        (RECOVER, 1, PRUNE, [("take_best_at", 1), "compact"]),
        (SHRINK, 1, CYCLE, [("take_best_at", 1), "make_elastic"]),
        (SHRINK, 1, RECOVER, [("take_best_at", 1), "make_elastic"]),
        (SHRINK, 1, PRUNE, [("take_best_at", 1), "compact", "make_elastic"]),
    ],
)
def test_what_a_phase_makes_of_the_network(phase, depth, earlier, expected):
    found, done = enter(phase, depth, earlier)
    assert done == expected
    assert found.stage.fresh_layers == (["head"] if ("deepen", 0.5) in done else [])
    assert found.frozen_blocks == (1 if phase in (HEAD, SETTLE) else None)
    assert (found.clipnorm is not None) == (phase == SHRINK)


def test_widths_shrink_epoch_by_epoch_and_are_drawn_by_seed_epoch_and_step(monkeypatch):
    drawn = []
    elastic = types.SimpleNamespace(
        shrinking=phases.elastic.shrinking,
        draw_widths=lambda network, smallest, rng: drawn.append((smallest, rng.integers(10**9))),
    )
    monkeypatch.setattr(phases, "elastic", elastic)
    stage = Stage(1, SHRINK, 8, 16, 4)

    def draw(seed, epochs, step):
        stage.steps = 4 * epochs
        PHASES[SHRINK](stage, PhaseContext(Training(), None, seed)).before_step(step)

    for place in ((1, 0, 0), (1, 1, 0), (1, 0, 0), (1, 0, 1), (2, 0, 0)):
        draw(*place)
    assert [smallest for smallest, _ in drawn] == [0.5, 0.25, 0.5, 0.5, 0.5]
    assert drawn[0] == drawn[2] and len({number for _, number in drawn}) == 4


def test_a_phase_that_overrides_nothing_changes_nothing():
    training = Training()
    phase = Phase(Stage(1, CYCLE, 0, 8, 4), PhaseContext(training, None))
    phase.begin(8)
    phase.before_step(0)
    phase.after_step(1)
    phase.hold()
    phase.leave()
    phase.restore(phase.state())
    assert training.done == []
