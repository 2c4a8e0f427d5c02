"""`Stage`: the training at one depth in one phase, as a part of a learning-rate cycle."""

import math
from dataclasses import dataclass, field

HEAD, SETTLE, CYCLE, PRUNE, RECOVER, SHRINK = "head", "settle", "cycle", "prune", "recover", "shrink"
WARMUP = 0.1  # of a learning-rate cycle
FALL_FROM = 0.5  # of a cycle: where the rate begins to fall
LONG = 3000  # steps: warm-up, averages and the distance of early checks are never longer than in a cycle of so many
CYCLE_SHAPE = {"warmup": WARMUP, "fall_from": FALL_FROM, "long": LONG}


def warmup(cycle_steps: float) -> float:
    """The part of a cycle of so many steps in which the learning rate warms up.

    >>> warmup(1000), warmup(6000)
    (0.1, 0.05)
    """
    return WARMUP * min(1.0, LONG / cycle_steps)


@dataclass
class Stage:
    """The training at one depth in one phase; steps are training steps, counted from the beginning of the run.

    Attributes:
        depth: number of residual blocks.
        phase: `"head"` (the head only, on blocks of another network), `"settle"` (newest block and head only),
            `"cycle"` (everything), `"prune"` (the beginning of a cycle of its own, at the depth found, in which
            channels are removed), `"recover"` (the rest of that one, of the network without them) or `"shrink"` (a
            cycle at the depth found, at smaller and smaller random widths).
        first_step: steps of the run before this stage.
        end_step: the step of the run at which it ends at the latest.
        epoch_steps: steps of an epoch.
        progress: the part of its learning-rate cycle that is done when it begins, in [0, 1).
        end_progress: the part that is done at its planned end: 1, but less for `"head"`, `"settle"` and `"prune"`,
            whose cycle continues in another stage.
        steps: of it that are done.
        values: the monitored metric after each epoch.
        checks: (step of the run, accuracy) that forecasts are made from.
        forecasts: after each epoch, the forecast accuracy at the end of the cycle; `None` where there is none.
        seconds: wall-clock time, building and compiling included, as of its last complete epoch.
        setup_seconds: of which until its first training step was done: building, weight transfer, tracing.
        training_macs_per_image: multiply-accumulates of one training step on one image.
        carried_share: the share of a shallower network's weights that it begins with; the rest of them is fresh.
        fresh_layers: layers that started without carried-over weights.
    """

    depth: int
    phase: str
    first_step: int
    end_step: int
    epoch_steps: int = 1
    progress: float = 0.0
    end_progress: float = 1.0
    steps: int = 0
    values: list[float] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)
    forecasts: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    setup_seconds: float = 0.0
    training_macs_per_image: int = 0
    carried_share: float = 1.0
    fresh_layers: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> float:
        """Epochs that are done; the first and the last may be parts of an epoch of the run."""
        return self.steps / self.epoch_steps

    @property
    def value_epochs(self) -> range:
        """The epochs of the run, counted from 1, after which `values` were measured."""
        first = self.first_step // self.epoch_steps + 1
        return range(first, first + len(self.values))

    @property
    def best(self) -> float:
        """The highest of `values`; minus infinity before the first."""
        return max(self.values, default=-math.inf)

    @property
    def last_step(self) -> int:
        """The step of the run up to which it has been trained."""
        return self.first_step + self.steps

    @property
    def complete(self) -> bool:
        """Whether it has been trained to its planned end."""
        return self.last_step >= self.end_step

    def progress_at(self, step: int) -> float:
        """The part of the cycle that is done at a step of the run."""
        share = (step - self.first_step) / max(1, self.end_step - self.first_step)
        return self.progress + (self.end_progress - self.progress) * share

    @property
    def cycle_steps(self) -> tuple[int, int]:
        """The length of the cycle in steps of this stage, and the step of the cycle at which the stage begins."""
        length = (self.end_step - self.first_step) / (self.end_progress - self.progress)
        return max(1, round(length)), round(self.progress * length)
