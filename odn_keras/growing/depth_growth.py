"""Progressive depth expansion: the callback that decides.

Every depth is trained as if it were the right one, by one cycle of the learning rate; it is left as soon as a forecast
says that even a cycle of full length would end below the target:

    cycle at depth 1 -> forecast too low: one block deeper -> settle -> cycle at depth 2 -> ... -> target met: done

`DepthGrowth` makes the decisions and knows nothing of how networks are built or trained; `odn_keras.stages` carries
them out.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras

from odn_keras.errors import InputError

SETTLE, CYCLE, PRUNE, RECOVER, SHRINK = "settle", "cycle", "prune", "recover", "shrink"
FREEZE_POLICIES = ("prefix", "none")
NO_ACCURACIES = ("loss", "error", "mae", "mse", "rmse", "entropy", "divergence", "false_", "learning_rate")
SETTLE_EPOCHS = 1
ANNEALING = (
    0.775  # what a whole cycle's decay of the learning rate leaves of the error; docs/METHOD.md has the measurements
)
CREDIT = 0.7  # of an epoch at a shallower depth, for a deeper one's cycle
SHORTEST_CYCLE = 0.5  # of the first one
FORECAST_STEPS = 150  # training steps of a cycle before which its accuracies tell nothing of its end
ROUNDING = 1e-6  # metrics are float32: 9,930 right of 10,000 is logged as 0.99299997


def forecast(values: Sequence[float], progress: float) -> float | None:
    """The accuracy at the end of a learning-rate cycle, from the accuracies so far.

    The error shrinks on as it did in the last epoch, and by what annealing brings, both in proportion to what is left
    of the cycle: error * (ANNEALING * shrinkage) ** (1 - progress).

    Args:
        values: accuracy of the averaged weights after each epoch of the cycle.
        progress: how much of the cycle is done, in [0, 1].

    Returns:
        An accuracy; `None` before the second epoch.

    >>> round(forecast([0.80, 0.85], progress=0.5), 3)
    0.886
    """
    if len(values) < 2:
        return None
    before, now = 1 - values[-2], 1 - values[-1]
    shrinkage = min(1.0, now / before) if before > 0 else 1.0
    return 1 - now * (ANNEALING * shrinkage) ** (1 - progress)


@dataclass
class Stage:
    """The training at one depth in one phase.

    Attributes:
        depth: number of residual blocks.
        phase: `"settle"` (newest block and head only), `"cycle"` (everything, one cycle of the learning rate),
            `"prune"` (the beginning of another one, at the depth found, in which channels are removed), `"recover"`
            (the rest of that one, of the network without them) or `"shrink"` (a cycle at the depth found, at smaller
            and smaller random widths of its blocks).
        first_epoch: epochs of the whole run before this stage.
        end_epoch: the epoch of the whole run at which it ends at the latest.
        values: the monitored metric after each epoch.
        forecasts: after each epoch, what a cycle of full length was forecast to end with; `None` where there is none.
        seconds: wall-clock time, building and compiling included, as of its last complete epoch.
        setup_seconds: of which until its first training step was done: building, weight transfer, tracing.
        training_macs_per_image: multiply-accumulates of one training step on one image.
        fresh_layers: layers that started without carried-over weights.
    """

    depth: int
    phase: str
    first_epoch: int
    end_epoch: int
    values: list[float] = field(default_factory=list)
    forecasts: list[float | None] = field(default_factory=list)
    seconds: float = 0.0
    setup_seconds: float = 0.0
    training_macs_per_image: int = 0
    fresh_layers: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        return len(self.values)

    @property
    def best(self) -> float:
        return max(self.values, default=-math.inf)

    @property
    def complete(self) -> bool:
        """Whether it has been trained to its planned end."""
        return self.first_epoch + self.epochs == self.end_epoch


class DepthGrowth(keras.callbacks.Callback):
    """Grows an `OptimallyDeepNetwork` during `fit` until a target accuracy is met.

    Args:
        target: accuracy to reach on validation data, in (0, 1]; `None` to train the model's depth and no other, which
            `max_depth` must then be.
        monitor: the logged metric that is compared with the target; an accuracy, in [0, 1], never a loss or error.
        max_depth: deepest network tried; default: the whole backbone.
        cycle_epochs: length of the first depth's learning-rate cycle. Deeper ones start from what is learned already
            and get a shorter one, of half as many epochs at least, and more, up to the full length, where that turns
            out too short.
            Default: a third of `fit`'s epochs less `shrink_epochs`; without a target all of these, or half of them
            where another cycle prunes.
        freeze: `"prefix"` trains only the newest block and the head in the first epoch after an expansion, `"none"`
            trains everything always.
        slack: how far from the target a forecast must be for its depth to be left: by a factor of
            exp(slack * (1 - progress)**2) in the error. The smaller, the cheaper the search, and the likelier it goes
            too deep.
        shrink_epochs: of `fit`'s epochs, how many at the end train the depth found at smaller widths too, by
            progressive shrinking, so that `odn_keras.specialize` can cut smaller networks out of it.
        verbose: 0 is silent, 1 prints one headline per stage; default: as `fit`.

    Attributes:
        stages: the `Stage`s so far, in order.
        best: the best value of the metric in the run, at any depth; while channels go or widths shrink, the last one.
        improved: whether `best` is the value of the latest epoch.
        target_met: whether `best` is at least the target; `None` without a target.
        rate_scale: what all learning rates are multiplied by: 1, or 0.1 after a divergence.

    Raises:
        InputError: for a value out of range, here or (max_depth, cycle_epochs) when `fit` begins.
    """

    def __init__(
        self,
        target: float | None,
        *,
        monitor: str = "val_accuracy",
        max_depth: int | None = None,
        cycle_epochs: int | None = None,
        freeze: str = "prefix",
        slack: float = 0.3,
        shrink_epochs: int = 0,
        verbose: int | None = None,
    ):
        super().__init__()
        if target is not None and not 0 < target <= 1:
            raise InputError(f"the target accuracy must be in (0, 1], got {target}")
        if any(word in monitor.lower() for word in NO_ACCURACIES):
            raise InputError(
                f"DepthGrowth monitors an accuracy, as val_accuracy, got {monitor!r}: less of it is better"
            )
        if freeze not in FREEZE_POLICIES:
            raise InputError(f"freeze must be one of {', '.join(FREEZE_POLICIES)}, got {freeze!r}")
        if not slack >= 0:
            raise InputError(f"slack must be at least 0, got {slack}")
        if cycle_epochs is not None and cycle_epochs < 1:
            raise InputError(f"cycle_epochs must be at least 1, got {cycle_epochs}")
        if shrink_epochs < 0:
            raise InputError(f"shrink_epochs must be at least 0, got {shrink_epochs}")
        self.target, self.monitor, self.max_depth = target, monitor, max_depth
        self.cycle_epochs, self.freeze, self.slack, self.verbose = cycle_epochs, freeze, slack, verbose
        self.shrink_epochs = shrink_epochs
        self._removal = 0.0
        self._forget()

    def _forget(self) -> None:
        self.stages: list[Stage] = []
        self.best, self.best_depth = -math.inf, 0
        self.improved = False
        self.rate_scale = 1.0

    @property
    def target_met(self) -> bool | None:
        return None if self.target is None else self._meets_target(self.best)

    @property
    def deepest(self) -> int:
        """The deepest network that the present `fit` may grow to."""
        return self._deepest

    def begin(
        self,
        depth: int,
        deepest: int,
        first_epoch: int,
        epochs: int,
        steps: int,
        *,
        removal: float = 0.0,
        found: Collection[int] | None = None,
    ) -> Stage:
        """Plans the first stage of a `fit` from `first_epoch` to `epochs`, of `steps` each, at `depth` of `deepest`.

        With `removal` the last epochs, another cycle, are kept for pruning the depth that is found; it is the fraction
        of them after which the channels that go have gone. `found` are the depths of which one may be found; default:
        all. The first of them must be the present one.
        """
        if self.max_depth is not None and not depth <= self.max_depth <= deepest:
            raise InputError(f"max_depth must be {depth} (the present depth) to {deepest}, got {self.max_depth}")
        if self.target is None and self.max_depth != depth:
            raise InputError(
                f"without a target the model's depth is trained and no other: max_depth must be {depth}, "
                f"got {self.max_depth}"
            )
        self._deepest = self.max_depth or deepest
        self._findable = range(depth, self._deepest + 1) if found is None else sorted(found)
        self._deepest = max(self._findable)
        self._epochs, self._removal = epochs - self.shrink_epochs, removal
        self._first_epoch, self._steps = first_epoch, steps
        budget = self._epochs - first_epoch
        if budget < 1:
            raise InputError(
                f"shrink_epochs ({self.shrink_epochs}) must be less than the epochs of fit ({epochs - first_epoch})"
            )
        self._cycle_epochs = self.cycle_epochs or self._usual_cycle(budget)
        if self._cycle_epochs > budget:
            left = f" without shrink_epochs ({self.shrink_epochs})" if self.shrink_epochs else ""
            raise InputError(f"cycle_epochs ({self.cycle_epochs}) must be at most the epochs of fit{left} ({budget})")
        if removal:
            self._epochs -= self._cycle_epochs
            if self._epochs - first_epoch < self._cycle_epochs:
                raise InputError(
                    f"pruning needs a second cycle of cycle_epochs ({self._cycle_epochs}), fit has {budget} epochs"
                )
        self._forget()
        return self._cycle(depth, first_epoch)

    def _usual_cycle(self, budget: int) -> int:
        if self.target is None:
            return max(1, budget // 2) if self._removal else budget
        return math.ceil(budget / 3)

    def next_stage(self) -> Stage | None:
        """Plans what follows the stage just trained; `None` when the run is over."""
        stage = self.stages[-1]
        epoch = stage.first_epoch + stage.epochs
        if stage.phase == SETTLE:
            return self._cycle(stage.depth, epoch)
        if stage.phase == CYCLE and not self._is_found(stage) and not self.target_met and self._deeper_fits(stage):
            return self._deeper(stage, epoch)
        if stage.phase == CYCLE and self._removal:
            depth = stage.depth if self._is_found(stage) else self.best_depth
            return Stage(depth, PRUNE, epoch, epoch + math.ceil(self._removal * self._cycle_epochs))
        _, end = self.cycle(stage)
        if stage.phase == PRUNE and epoch < end:
            return Stage(stage.depth, RECOVER, epoch, end)
        if stage.phase != SHRINK and self.shrink_epochs:
            return Stage(self.best_depth, SHRINK, epoch, epoch + self.shrink_epochs)
        return None

    def cycle(self, stage: Stage) -> tuple[int, int]:
        """The epochs of the run between which the stage's learning-rate cycle lies: one that prunes is two stages."""
        if stage.phase == PRUNE:
            return stage.first_epoch, stage.first_epoch + self._cycle_epochs
        if stage.phase == RECOVER:
            return stage.end_epoch - self._cycle_epochs, stage.end_epoch
        return stage.first_epoch, stage.end_epoch

    def _deeper(self, stage: Stage, epoch: int) -> Stage:
        if self.freeze == "prefix":
            return Stage(stage.depth + 1, SETTLE, epoch, epoch + SETTLE_EPOCHS)
        return self._cycle(stage.depth + 1, epoch)

    def _cycle(self, depth: int, epoch: int) -> Stage:
        length = round(self._cycle_epochs - CREDIT * (epoch - self._first_epoch))
        return Stage(depth, CYCLE, epoch, min(epoch + max(length, self._shortest_cycle), self._epochs))

    @property
    def _shortest_cycle(self) -> int:
        return math.ceil(SHORTEST_CYCLE * self._cycle_epochs)

    def _deeper_fits(self, stage: Stage) -> bool:
        """Whether there is a deeper network, and time for it."""
        needed = self._shortest_cycle + (SETTLE_EPOCHS if self.freeze == "prefix" else 0)
        return stage.depth < self._deepest and self._epochs - (stage.first_epoch + stage.epochs) >= needed

    def _full_length(self, stage: Stage) -> int:
        return min(self._cycle_epochs, self._epochs - stage.first_epoch)

    def _forecast(self, stage: Stage, length: int) -> float | None:
        """Where a cycle of so many epochs would end; `None` where that cannot be told yet."""
        if stage.phase != CYCLE or stage.epochs * self._steps < FORECAST_STEPS:
            return None
        return forecast(stage.values, stage.epochs / length)

    def _is_hopeless(self, stage: Stage) -> bool:
        """Whether even a full cycle falls short, beyond the forecast's own uncertainty, and a deeper network fits."""
        expected = stage.forecasts[-1] if stage.forecasts else None
        if expected is None or self.target_met or not self._deeper_fits(stage):
            return False
        if stage.depth not in self._findable:
            return True
        left = 1 - stage.epochs / self._full_length(stage)
        return not self._meets_target(1 - (1 - expected) * math.exp(-self.slack * left**2))

    def _is_found(self, stage: Stage) -> bool:
        """Whether this depth is forecast, from half-way on, to reach the target: pruning need not wait for it."""
        expected = stage.forecasts[-1] if stage.forecasts else None
        half_way = 2 * stage.epochs >= stage.end_epoch - stage.first_epoch
        return (
            stage.depth in self._findable
            and self._removal > 0
            and half_way
            and expected is not None
            and self._meets_target(expected)
        )

    def _lengthen_if_short(self, stage: Stage) -> None:
        """Gives a shortened cycle that is half-way, or done, and falls short its full length."""
        length = stage.end_epoch - stage.first_epoch
        expected = stage.values[-1] if stage.complete else self._forecast(stage, length)
        if expected is None or stage.phase != CYCLE or 2 * stage.epochs < length:
            return
        if stage.depth not in self._findable:
            return
        if not (self.target_met or self._meets_target(expected) or self._is_hopeless(stage)):
            stage.end_epoch = stage.first_epoch + self._full_length(stage)

    def _meets_target(self, accuracy: float) -> bool:
        return self.target is not None and accuracy >= self.target - ROUNDING

    def settings(self) -> dict[str, Any]:
        """What decides, as JSON: a training can be resumed only under the same."""
        names = ("target", "monitor", "max_depth", "cycle_epochs", "freeze", "slack", "shrink_epochs")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """What has been seen and decided so far, as JSON."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "best": self.best,
            "best_depth": self.best_depth,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Returns to an earlier `state`."""
        self.stages = [Stage(**stage) for stage in state["stages"]]
        self.best, self.best_depth = state["best"], state["best_depth"]

    def on_train_begin(self, logs=None):
        if not self.stages:
            raise InputError("DepthGrowth grows an OptimallyDeepNetwork: a plain keras.Model cannot change its depth")

    def is_over(self, stage: Stage) -> bool:
        """Whether the stage has come to its end."""
        return stage.complete or self._is_hopeless(stage) or self._is_found(stage)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        stage = self.stages[-1]
        if self.monitor not in logs:
            raise InputError(f"DepthGrowth monitors {self.monitor!r}, which is not logged; logged are {sorted(logs)}")
        value = float(logs[self.monitor])
        if not 0 <= value <= 1 + ROUNDING:
            raise InputError(f"DepthGrowth monitors an accuracy, from 0 to 1, but {self.monitor!r} is {value:g}")
        stage.values.append(value)
        stage.forecasts.append(self._forecast(stage, self._full_length(stage)))
        tie = value == self.best and stage.depth == self.best_depth
        better = value > self.best or tie or stage.phase in (PRUNE, SHRINK)
        self.improved = better and stage.depth in self._findable
        if self.improved:
            self.best, self.best_depth = value, stage.depth
        self._lengthen_if_short(stage)
