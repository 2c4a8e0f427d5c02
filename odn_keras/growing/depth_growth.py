"""Progressive depth expansion: the callback that decides.

One learning-rate cycle runs through the whole search. While the rate is at its peak the network grows, block by block,
as soon as the forecast of a depth misses the target; then the rate falls, and the last depth finishes the cycle:

    depth 1 -> forecast too low -> depth 2 -> forecast too low -> depth 3 -> rate falls -> target met: done

The clock of the cycle counts computation: of what the training at a shallower depth has cost most counts for the next
one. So the search costs little more than training the depth that is found directly.

`DepthGrowth` makes the decisions and knows nothing of how networks are built or trained;
`odn_keras.growing.growing_fit` carries them out.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from typing import Any

import keras

from odn_keras.errors import InputError
from odn_keras.growing.cycle_length import default_cycle, leaves_second_cycle
from odn_keras.growing.forecast import forecast
from odn_keras.growing.schedules import FALL_FROM, WARMUP

SETTLE, CYCLE, PRUNE, RECOVER, SHRINK = "settle", "cycle", "prune", "recover", "shrink"
FREEZE_POLICIES = ("prefix", "none")
NO_ACCURACIES = ("loss", "error", "mae", "mse", "rmse", "entropy", "divergence", "false_", "learning_rate")
CHECKS = 20  # of the accuracy in a cycle, at equal distances
LEAST_STEPS = 10  # between two checks, each of which costs about as much time as some steps
CREDIT = 0.8  # of what is done at a depth, on the clock of the next one
LIFTED_OFF = 0.25  # accuracy below which learning may only be about to begin
SLOW_START = 6.0  # times more is a forecast doubted below it
DECIDED = 0.9  # of a cycle: past it a depth is trained to the end, as little can still be saved
ROUNDING = 1e-6  # metrics are float32: 9,930 right of 10,000 is logged as 0.99299997


@dataclass
class Stage:
    """The training at one depth in one phase; steps are training steps, counted from the beginning of the run.

    Attributes:
        depth: number of residual blocks.
        phase: `"settle"` (newest block and head only), `"cycle"` (everything), `"prune"` (the beginning of a cycle of
            its own, at the depth found, in which channels are removed), `"recover"` (the rest of that one, of the
            network without them) or `"shrink"` (a cycle at the depth found, at smaller and smaller random widths).
        first_step: steps of the run before this stage.
        end_step: the step of the run at which it ends at the latest.
        epoch_steps: steps of an epoch.
        progress: how much of its learning-rate cycle is done when it begins, in [0, 1); at its planned end it is 1, but
            for `"settle"` and `"prune"`, after which another stage goes on with the cycle.
        end_progress: how much of the cycle is done at its planned end.
        steps: of it that are done.
        values: the monitored metric after each epoch.
        checks: (step of the run, accuracy) that forecasts are made from.
        forecasts: after each epoch, what the cycle was forecast to end with; `None` where there is none.
        seconds: wall-clock time, building and compiling included, as of its last complete epoch.
        setup_seconds: of which until its first training step was done: building, weight transfer, tracing.
        training_macs_per_image: multiply-accumulates of one training step on one image.
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
    fresh_layers: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> float:
        """Epochs that are done, of which it need not have begun or ended the first and the last."""
        return self.steps / self.epoch_steps

    @property
    def value_epochs(self) -> range:
        """The epochs of the run, counted from 1, after which `values` were measured."""
        first = self.first_step // self.epoch_steps + 1
        return range(first, first + len(self.values))

    @property
    def best(self) -> float:
        return max(self.values, default=-math.inf)

    @property
    def last_step(self) -> int:
        """The step of the run that it has come to."""
        return self.first_step + self.steps

    @property
    def complete(self) -> bool:
        """Whether it has been trained to its planned end."""
        return self.last_step >= self.end_step

    def progress_at(self, step: int) -> float:
        """How much of the cycle is done at a step of the run."""
        share = (step - self.first_step) / max(1, self.end_step - self.first_step)
        return self.progress + (self.end_progress - self.progress) * share

    @property
    def cycle_steps(self) -> tuple[int, int]:
        """How long the cycle is in steps of this stage, and at which of these the stage begins."""
        length = (self.end_step - self.first_step) / (self.end_progress - self.progress)
        return max(1, round(length)), round(self.progress * length)


class DepthGrowth(keras.callbacks.Callback):
    """Grows an `OptimallyDeepNetwork` during `fit` until a target accuracy is met.

    Args:
        target: accuracy to reach on validation data, in (0, 1]; `None` to train the model's depth and no other, which
            `max_depth` must then be.
        monitor: the logged metric that is compared with the target; an accuracy, in [0, 1], never a loss or error.
        max_depth: deepest network tried; default: the whole backbone.
        cycle_epochs: length of the learning-rate cycle. A deeper network leaves out the part of it that the training at
            the depths before makes up for. Where the target is missed at its end, the next depth, or else the best one,
            gets the second half of another cycle, as long as epochs are left.
            Default: a third of `fit`'s epochs less `shrink_epochs`; without a target all of these, or half of them
            where another cycle prunes.
        freeze: `"none"` trains everything always, `"prefix"` only the newest block and the head in the first twentieth
            of a cycle after an expansion.
        slack: how far a forecast is doubted, in the deviations of `odn_keras.growing.forecast`: a depth is left where
            even a forecast that much higher misses the target. The smaller, the cheaper the search, and the likelier
            it goes too deep.
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
        freeze: str = "none",
        slack: float = 1.0,
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

    @property
    def check_steps(self) -> int:
        """Training steps between two checks of the accuracy."""
        return max(LEAST_STEPS, round(self._cycle_steps / CHECKS))

    def begin(
        self,
        depth: int,
        deepest: int,
        first_epoch: int,
        epochs: int,
        steps: int,
        *,
        cost: Callable[[int], float] = float,
        whole_epochs: bool = False,
        removal: float = 0.0,
        found: Collection[int] | None = None,
    ) -> Stage:
        """Plans the first stage of a `fit` from `first_epoch` to `epochs`, of `steps` each, at `depth` of `deepest`.

        `cost` is that of a training step at a depth, in any unit. With `whole_epochs` no stage begins or ends within an
        epoch. With `removal` another cycle, half of one at least, is kept for pruning the depth that is found; it is
        the fraction of that cycle after which the channels that go have gone. `found` are the depths of which one may
        be found; default: all. The first of them must be the present one.
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
        budget = epochs - self.shrink_epochs - first_epoch
        if budget < 1:
            raise InputError(
                f"shrink_epochs ({self.shrink_epochs}) must be less than the epochs of fit ({epochs - first_epoch})"
            )
        fixed_depth = self.target is None
        cycle = self.cycle_epochs or default_cycle(budget, fixed_depth=fixed_depth, pruning=bool(removal))
        if cycle > budget:
            left = f" without shrink_epochs ({self.shrink_epochs})" if self.shrink_epochs else ""
            raise InputError(f"cycle_epochs ({self.cycle_epochs}) must be at most the epochs of fit{left} ({budget})")
        if removal and not leaves_second_cycle(cycle, budget):
            raise InputError(f"pruning needs a second cycle of cycle_epochs ({cycle}), fit has {budget} epochs")
        self._steps, self._cost, self._removal, self._only_whole_epochs = steps, cost, removal, whole_epochs
        self._cycle_steps = cycle * steps
        self._end = (first_epoch + budget) * steps
        self._forget()
        return self._cycle(depth, first_epoch * steps, 0.0)

    def next_stage(self) -> Stage | None:
        """Plans what follows the stage just trained; `None` when the run is over."""
        stage = self.stages[-1]
        step = stage.last_step
        if stage.phase == SETTLE:
            return self._cycle(stage.depth, step, stage.progress_at(step))
        if stage.phase == CYCLE and not self._is_found(stage) and self.target_met is False:
            if self._may_deepen(stage, step):
                return self._deeper(stage, step)
            if self._may_go_on(step):
                return self._longer(step)
        if stage.phase == CYCLE and self._removal:
            return self._prune(stage.depth if self._is_found(stage) else self.best_depth, step)
        if stage.phase == PRUNE and stage.end_progress < 1:
            length = (stage.end_step - stage.first_step) * (1 / stage.end_progress - 1)
            return self._stage(stage.depth, RECOVER, step, step + round(length), stage.end_progress)
        if stage.phase != SHRINK and self.shrink_epochs:
            return self._stage(self.best_depth, SHRINK, step, step + self.shrink_epochs * self._steps)
        return None

    def _stage(self, depth: int, phase: str, step: int, end: int, progress: float = 0.0, until: float = 1.0) -> Stage:
        return Stage(depth, phase, step, end, self._steps, progress, until)

    def _cycle(self, depth: int, step: int, progress: float) -> Stage:
        """The rest of the cycle at a depth, in whole epochs, shortened to what is left of them."""
        end = self._nearest_epoch(step + (1 - progress) * self._cycle_steps, step)
        return self._stage(depth, CYCLE, step, min(end, self._end_of_growth), progress)

    def _deeper(self, stage: Stage, step: int) -> Stage:
        """One block more, for which most of what the training so far has cost counts, but not the falling rate."""
        depth = stage.depth + 1
        progress = CREDIT * stage.progress_at(step) * self._cost(stage.depth) / self._cost(depth)
        progress = min(progress, FALL_FROM)
        if self.freeze == "none":
            return self._cycle(depth, step, progress)
        end = step + self.check_steps
        end = self._whole_epochs(end) if self._only_whole_epochs else end
        until = progress + (end - step) / self._cycle_steps
        return self._stage(depth, SETTLE, step, end, progress, min(until, DECIDED))

    def _longer(self, step: int) -> Stage:
        """As long again as the network found was trained so far, from the middle of a cycle on."""
        done = sum(stage.steps for stage in self.stages if stage.depth == self.best_depth)
        end = min(self._whole_epochs(step + max(done, self._cycle_steps / 2)), self._end_of_search)
        return self._stage(self.best_depth, CYCLE, step, end, FALL_FROM)

    def _prune(self, depth: int, step: int) -> Stage:
        cycle = min(self._cycle_steps, self._end - step)
        epochs = math.ceil(self._removal * cycle / self._steps)
        end = self._whole_epochs(step + epochs * self._steps)
        return self._stage(depth, PRUNE, step, min(end, self._end), 0.0, min(1.0, (end - step) / cycle))

    def _whole_epochs(self, step: float) -> int:
        return math.ceil(step / self._steps - 1e-9) * self._steps

    def _nearest_epoch(self, step: float, after: int) -> int:
        """The end of an epoch that is nearest to a step, and after another one."""
        return max(round(step / self._steps) * self._steps, self._whole_epochs(after + 1))

    @property
    def _end_of_growth(self) -> int:
        """Until when it may grow: pruning keeps half a cycle."""
        return self._end - (self._whole_epochs(self._cycle_steps / 2) if self._removal else 0)

    @property
    def _end_of_search(self) -> int:
        """Until when a network that is not good enough is trained on: pruning keeps its cycle."""
        return self._end - (self._cycle_steps if self._removal else 0)

    def _may_deepen(self, stage: Stage, step: int) -> bool:
        """Whether there is a deeper network, not tried yet, and time for the rate to fall."""
        tried = max(earlier.depth for earlier in self.stages)
        in_time = self._end_of_growth - step >= (1 - FALL_FROM) * self._cycle_steps
        return tried <= stage.depth < self._deepest and in_time

    def _may_be_left(self, stage: Stage, step: int) -> bool:
        """Whether a forecast may end the stage at this step for a deeper network."""
        undecided = stage.phase == CYCLE and self.target_met is False and stage.progress_at(step) <= DECIDED
        return undecided and self._may_deepen(stage, step)

    def _may_go_on(self, step: int) -> bool:
        return self.best_depth > 0 and self._end_of_search - step >= self._steps

    def is_over(self, stage: Stage) -> bool:
        """Whether the stage has come to its end."""
        return stage.complete or self._misses(stage) or self._is_found(stage)

    def _misses(self, stage: Stage) -> bool:
        """Whether even the end that a doubtful forecast hopes for is below the target, and a deeper network fits."""
        if not stage.checks or not self._may_be_left(stage, stage.last_step):
            return False
        if stage.depth not in self._findable:
            return len(stage.checks) > 1
        slow = stage.checks[-1][1] < LIFTED_OFF
        hoped = self.forecast(stage, self.slack * (SLOW_START if slow else 1))
        return hoped is not None and not self._meets_target(hoped)

    def _is_found(self, stage: Stage) -> bool:
        """Whether the falling rate is forecast to take this depth to the target: pruning need not wait for it."""
        step = stage.last_step
        after_epoch = stage.steps > 0 and step % self._steps == 0
        if not self._removal or stage.phase != CYCLE or stage.depth not in self._findable or not after_epoch:
            return False
        expected = self.forecast(stage) if stage.progress_at(step) >= FALL_FROM else None
        return expected is not None and self._meets_target(expected)

    def forecast(self, stage: Stage, deviations: float = 0.0) -> float | None:
        """Where the cycle of a stage is forecast to end, so many deviations above what is expected.

        `None` where that cannot be told, as during the warm-up.
        """
        bias = self._bias_of_checks()
        points = [(stage.progress_at(step), min(1.0, max(0.0, accuracy + bias))) for step, accuracy in stage.checks]
        return forecast([point for point in points if point[0] > WARMUP], deviations)

    def _bias_of_checks(self) -> float:
        """How much higher the accuracy on all validation images was, after epochs, than on those of the checks."""
        differences = []
        for stage in self.stages:
            checks = dict(stage.checks)
            ends = [epoch * stage.epoch_steps for epoch in stage.value_epochs]
            differences += [value - checks[end] for end, value in zip(ends, stage.values, strict=True) if end in checks]
        return sum(differences) / len(differences) if differences else 0.0

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
        for stage in self.stages:
            stage.checks = [(step, accuracy) for step, accuracy in stage.checks]  # JSON has made lists of them
        self.best, self.best_depth = state["best"], state["best_depth"]

    def wants_check(self, before: int, step: int) -> bool:
        """Whether the accuracy may decide something at this step of the run, or since the step before."""
        stage = self.stages[-1]
        checks, checks_before = ((at - stage.first_step) // self.check_steps for at in (step, before))
        return checks > checks_before and self._may_be_left(stage, step)

    def add_check(self, step: int, accuracy: float) -> None:
        """Takes the accuracy at a step of the run."""
        stage = self.stages[-1]
        stage.steps = step - stage.first_step
        stage.checks.append((step, accuracy))

    def on_train_begin(self, logs=None):
        if not self.stages:
            raise InputError("DepthGrowth grows an OptimallyDeepNetwork: a plain keras.Model cannot change its depth")

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        stage = self.stages[-1]
        if self.monitor not in logs:
            raise InputError(f"DepthGrowth monitors {self.monitor!r}, which is not logged; logged are {sorted(logs)}")
        value = float(logs[self.monitor])
        if not 0 <= value <= 1 + ROUNDING:
            raise InputError(f"DepthGrowth monitors an accuracy, from 0 to 1, but {self.monitor!r} is {value:g}")
        stage.values.append(value)
        step = (epoch + 1) * self._steps
        if not (stage.checks and stage.checks[-1][0] == step):
            self.add_check(step, value)
        stage.forecasts.append(self.forecast(stage) if stage.phase == CYCLE else None)
        tie = value == self.best and stage.depth == self.best_depth
        better = value > self.best or tie or stage.phase in (PRUNE, SHRINK)
        self.improved = better and stage.depth in self._findable
        if self.improved:
            self.best, self.best_depth = value, stage.depth
