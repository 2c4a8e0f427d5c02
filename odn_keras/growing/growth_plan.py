"""Progressive depth expansion: the decisions, as functions of the stages so far.

One learning-rate cycle runs through the whole search. While the rate is at its peak the network grows, block by block,
as soon as the forecast of a depth misses the target; then the rate falls, and the last depth finishes the cycle:

    depth 1 -> forecast too low -> depth 2 -> forecast too low -> depth 3 -> rate falls -> target met: done

The clock of the cycle counts computation: of what the training at a shallower depth has cost most counts for the next
one. So a search that is right at once costs what direct training does.

Nothing here changes, and nothing depends on Keras: `DepthGrowth` keeps the stages and asks a `GrowthPlan`.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from odn_keras.errors import InputError
from odn_keras.growing.cycle_length import default_cycle, leaves_second_cycle
from odn_keras.growing.forecast import forecast
from odn_keras.growing.stage import (
    CYCLE,
    FALL_FROM,
    HEAD,
    LONG,
    PRUNE,
    RECOVER,
    SETTLE,
    SHRINK,
    Stage,
    warmup,
)

FREEZE_POLICIES = ("prefix", "none")
NO_ACCURACIES = ("loss", "error", "mae", "mse", "rmse", "entropy", "divergence", "false_", "learning_rate")
CHECKS = 20  # of the accuracy in a cycle, at equal distances
LEAST_STEPS = 10  # between two checks, each of which costs about as much time as some steps
EARLY = 0.25  # of a cycle: until then a long one is checked as often as one of LONG steps
CREDIT = 0.8  # of what is done at a depth, on the clock of the next one
CARRIED_STEPS = 500  # that this is worth at most
LIFTED_OFF = 0.35  # accuracy below which learning may only be about to begin
SLOW_START = 6.0  # times more is a forecast doubted below it
DECIDED = 0.9  # of a cycle: past it a depth is trained to the end, as little can still be saved
ROUNDING = 1e-6  # metrics are float32: 9,930 right of 10,000 is logged as 0.99299997
NUMBERS = {
    "checks": CHECKS,
    "least_steps": LEAST_STEPS,
    "early": EARLY,
    "credit": CREDIT,
    "carried_steps": CARRIED_STEPS,
    "lifted_off": LIFTED_OFF,
    "slow_start": SLOW_START,
    "decided": DECIDED,
    "rounding": ROUNDING,
}


@dataclass(frozen=True)
class GrowthRules:
    """What the user asks for; `DepthGrowth` documents each of the attributes.

    Raises:
        InputError: for a value out of range.
    """

    target: float | None
    monitor: str
    max_depth: int | None
    cycle_epochs: int | None
    freeze: str
    slack: float
    shrink_epochs: int
    trained: bool = False

    def __post_init__(self):
        if self.target is not None and not 0 < self.target <= 1:
            raise InputError(f"the target accuracy must be in (0, 1], got {self.target}")
        if any(word in self.monitor.lower() for word in NO_ACCURACIES):
            raise InputError(
                f"DepthGrowth monitors an accuracy, as val_accuracy, got {self.monitor!r}: less of it is better"
            )
        if self.freeze not in FREEZE_POLICIES:
            raise InputError(f"freeze must be one of {', '.join(FREEZE_POLICIES)}, got {self.freeze!r}")
        if not self.slack >= 0:
            raise InputError(f"slack must be at least 0, got {self.slack}")
        if self.cycle_epochs is not None and self.cycle_epochs < 1:
            raise InputError(f"cycle_epochs must be at least 1, got {self.cycle_epochs}")
        if self.shrink_epochs < 0:
            raise InputError(f"shrink_epochs must be at least 0, got {self.shrink_epochs}")


@dataclass(frozen=True, kw_only=True)
class FitConditions:
    """What a `fit` leaves the growth to decide within.

    Attributes:
        depth: the present depth of the network.
        deepest: depth of the whole backbone.
        first_epoch, epochs: `initial_epoch` and `epochs` of the `fit`.
        steps: training steps of an epoch.
        cost: the cost of a training step at a depth, in any unit.
        whole_epochs: whether stages may begin and end between epochs only.
        removal: with pruning, the fraction of its cycle after which the channels have gone, in (0, 1]; 0 without.
        results: the depths that may be the result, the present one among them; `None` for all.
        carried: whether the network has blocks of a trained one, under a head that is new.
        check_images: validation images that a check is measured on; `None` where that is not known.
    """

    depth: int
    deepest: int
    first_epoch: int = 0
    epochs: int
    steps: int
    cost: Callable[[int], float] = float
    whole_epochs: bool = False
    removal: float = 0.0
    results: Collection[int] | None = None
    carried: bool = False
    check_images: int | None = None


@dataclass(frozen=True)
class Best:
    """The result of a run so far.

    Attributes:
        value: of the monitored metric; minus infinity before the first epoch.
        depth: at which it was measured; 0 before the first epoch.
        improved: whether it is the value of the latest epoch.
    """

    value: float = -math.inf
    depth: int = 0
    improved: bool = False


@dataclass(frozen=True)
class GrowthPlan:
    """Decides on one `fit`; made by `GrowthPlan.of`. Methods take the stages so far, the present one last.

    Attributes:
        rules: what the user asks for.
        fit: what the `fit` leaves to decide within.
        results: the depths that may be the result, in ascending order.
        cycle_steps: training steps of a whole learning-rate cycle.
        end: the step of the run at which the epochs without `shrink_epochs` end.
    """

    rules: GrowthRules
    fit: FitConditions
    results: Sequence[int]
    cycle_steps: int
    end: int

    @classmethod
    def of(cls, rules: GrowthRules, fit: FitConditions) -> "GrowthPlan":
        """Makes the plan of a `fit`.

        With pruning, a second cycle is reserved for the depth that is found; half of one is the least.

        Raises:
            InputError: where the rules do not go with the network or the epochs of the `fit`.
        """
        if rules.max_depth is not None and not fit.depth <= rules.max_depth <= fit.deepest:
            raise InputError(
                f"max_depth must be {fit.depth} (the present depth) to {fit.deepest}, got {rules.max_depth}"
            )
        if rules.target is None and rules.max_depth != fit.depth:
            raise InputError(
                f"without a target the model's depth is trained and no other: max_depth must be {fit.depth}, "
                f"got {rules.max_depth}"
            )
        every = range(fit.depth, (rules.max_depth or fit.deepest) + 1)
        budget = fit.epochs - rules.shrink_epochs - fit.first_epoch
        if budget < 1:
            raise InputError(
                f"shrink_epochs ({rules.shrink_epochs}) must be less than the epochs of fit "
                f"({fit.epochs - fit.first_epoch})"
            )
        cycle = rules.cycle_epochs or default_cycle(budget, fixed_depth=rules.target is None, pruning=fit.removal > 0)
        if cycle > budget:
            left = f" without shrink_epochs ({rules.shrink_epochs})" if rules.shrink_epochs else ""
            raise InputError(f"cycle_epochs ({rules.cycle_epochs}) must be at most the epochs of fit{left} ({budget})")
        if fit.removal and not leaves_second_cycle(cycle, budget):
            raise InputError(f"pruning needs a second cycle of cycle_epochs ({cycle}), fit has {budget} epochs")
        return cls(
            rules,
            fit,
            results=every if fit.results is None else sorted(fit.results),
            # Of a trained network the first stage is the second half of a cycle: at a fixed depth it is all there is.
            cycle_steps=cycle * fit.steps * (2 if rules.trained and rules.target is None and not fit.removal else 1),
            end=(fit.first_epoch + budget) * fit.steps,
        )

    @property
    def deepest(self) -> int:
        """The deepest network that the `fit` may grow to."""
        return max(self.results)

    def check_steps(self, progress: float) -> int:
        """Training steps between two checks of the accuracy."""
        length = min(self.cycle_steps, LONG) if progress < EARLY else self.cycle_steps
        return max(LEAST_STEPS, round(length / CHECKS))

    # What follows.

    def first_stage(self) -> Stage:
        """The stage that the `fit` begins with: before carried blocks are trained, the head learns to read them."""
        step = self.fit.first_epoch * self.fit.steps
        progress = FALL_FROM if self.rules.trained else 0.0
        if self.fit.carried:
            return self._alone_first(self.fit.depth, HEAD, step, progress)
        return self._cycle(self.fit.depth, step, progress)

    def next_stage(self, stages: Sequence[Stage]) -> Stage | None:
        """The stage that follows the one just trained; `None` when the run is over."""
        stage = stages[-1]
        step, best = stage.last_step, self.best(stages)
        if stage.phase in (HEAD, SETTLE):
            return self._cycle(stage.depth, step, stage.progress_at(step))
        if stage.phase == CYCLE and (more := self._more_growth(stages, step)) is not None:
            return more
        if stage.phase == CYCLE and self.fit.removal:
            return self._prune(stage.depth if self._is_found(stages) else best.depth, step)
        if stage.phase == PRUNE and stage.end_progress < 1:
            length = (stage.end_step - stage.first_step) * (1 / stage.end_progress - 1)
            return self._stage(stage.depth, RECOVER, step, step + round(length), progress=stage.end_progress)
        if stage.phase != SHRINK and self.rules.shrink_epochs:
            return self._stage(best.depth, SHRINK, step, step + self.rules.shrink_epochs * self.fit.steps)
        return None

    def _more_growth(self, stages: Sequence[Stage], step: int) -> Stage | None:
        """A deeper network or a longer training while the target is missed; `None` where neither may follow."""
        if self._is_found(stages) or not self._misses_so_far(stages):
            return None
        if self._may_deepen(stages, step):
            return self._deeper(stages[-1], step)
        if self._may_train_longer(stages, step):
            return self._longer(stages, step)
        return None

    def _stage(
        self, depth: int, phase: str, step: int, end: int, *, progress: float = 0.0, until: float = 1.0
    ) -> Stage:
        return Stage(depth, phase, step, end, self.fit.steps, progress, until)

    def _cycle(self, depth: int, step: int, progress: float) -> Stage:
        """The rest of the cycle at a depth, in whole epochs, shortened to what is left of them."""
        end = self._nearest_epoch(step + (1 - progress) * self.cycle_steps, step)
        return self._stage(depth, CYCLE, step, min(end, self._end_of_growth), progress=progress)

    def _deeper(self, stage: Stage, step: int) -> Stage:
        """One block more, for which most of what the training so far has cost counts, but not the falling rate."""
        depth = stage.depth + 1
        progress = CREDIT * stage.progress_at(step) * self.fit.cost(stage.depth) / self.fit.cost(depth)
        share = self._carried_share(step)
        progress = min(progress, CARRIED_STEPS * share / self.cycle_steps, FALL_FROM)
        if self.rules.freeze == "none":
            return replace(self._cycle(depth, step, progress), carried_share=share)
        return self._alone_first(depth, SETTLE, step, progress)

    def _carried_share(self, step: int) -> float:
        """What share of its weights the next depth takes over at a step.

        What a network has learned at a high rate slows it down later. A short cycle is over by then; in a long one a
        deeper network is to learn as one does that was as deep from the beginning. Frozen blocks, and those of another
        network that the user starts from, are kept.
        """
        if self.rules.freeze != "none" or self.fit.carried:
            return 1.0
        return min(1.0, LONG / min(self.cycle_steps, self._end_of_growth - step))

    def _alone_first(self, depth: int, phase: str, step: int, progress: float) -> Stage:
        """A stage that trains a part of the network; the rest of the cycle where it would take over half of that."""
        cycle, end = self._cycle(depth, step, progress), step + self.check_steps(0.0)
        if self.fit.whole_epochs:
            end = self._whole_epochs(end)
        if end - step > (cycle.end_step - step) / 2:
            return cycle
        return self._stage(depth, phase, step, end, progress=progress, until=progress + (end - step) / self.cycle_steps)

    def _longer(self, stages: Sequence[Stage], step: int) -> Stage:
        """As long again as the network found was trained so far, from the middle of a cycle on."""
        depth = self.best(stages).depth
        done = sum(stage.steps for stage in stages if stage.depth == depth)
        end = min(self._whole_epochs(step + max(done, self.cycle_steps / 2)), self._end_of_search)
        return self._stage(depth, CYCLE, step, end, progress=FALL_FROM)

    def _prune(self, depth: int, step: int) -> Stage:
        cycle = min(self.cycle_steps, self.end - step)
        epochs = math.ceil(self.fit.removal * cycle / self.fit.steps)
        end = self._whole_epochs(step + epochs * self.fit.steps)
        return self._stage(depth, PRUNE, step, min(end, self.end), until=min(1.0, (end - step) / cycle))

    def _whole_epochs(self, step: float) -> int:
        return math.ceil(step / self.fit.steps - 1e-9) * self.fit.steps

    def _nearest_epoch(self, step: float, after: int) -> int:
        """The end of an epoch that is nearest to a step, and after another one."""
        return max(round(step / self.fit.steps) * self.fit.steps, self._whole_epochs(after + 1))

    @property
    def _end_of_growth(self) -> int:
        """Until when it may grow: pruning keeps half a cycle."""
        return self.end - (self._whole_epochs(self.cycle_steps / 2) if self.fit.removal else 0)

    @property
    def _end_of_search(self) -> int:
        """Until when a network that is not good enough is trained on: pruning keeps its cycle."""
        return self.end - (self.cycle_steps if self.fit.removal else 0)

    # What is still ahead.

    def most_steps_left(self, stages: Sequence[Stage]) -> int:
        """How many training steps the run may still take at most."""
        stage = stages[-1]
        step, last = stage.last_step, self.fit.epochs * self.fit.steps
        if self._searches(stages):
            return last - step
        left = stage.end_step - step
        if stage.phase == CYCLE and self.fit.removal:
            left += self.cycle_steps
        if stage.phase == PRUNE:
            left += round((stage.end_step - stage.first_step) * (1 / stage.end_progress - 1))
        if stage.phase != SHRINK:
            left += self.rules.shrink_epochs * self.fit.steps
        return min(left, last - step)

    def dearest_ahead(self, stages: Sequence[Stage]) -> float:
        """How many times more a step at a depth that may still be tried costs than one at the present depth."""
        stage = stages[-1]
        if self._searches(stages) and self._may_deepen(stages, stage.last_step):
            return max(1.0, self.fit.cost(self.deepest) / self.fit.cost(stage.depth))
        return 1.0

    def _searches(self, stages: Sequence[Stage]) -> bool:
        """Whether another depth, or a longer training, may follow."""
        return stages[-1].phase in (HEAD, SETTLE, CYCLE) and self._misses_so_far(stages)

    # Whether a stage is over.

    def is_over(self, stages: Sequence[Stage]) -> bool:
        """Whether the present stage has come to its end."""
        return stages[-1].complete or self._misses(stages) or self._is_found(stages)

    def wants_check(self, stages: Sequence[Stage], before: int, step: int) -> bool:
        """Whether the accuracy at a step of the run, or since the step before, may decide something."""
        return self.check_is_due(stages[-1], before, step) and self._may_be_left(stages, step)

    def check_is_due(self, stage: Stage, before: int, step: int) -> bool:
        """Whether the time between two checks ends at a step of the run, or has since the step before."""
        distance = self.check_steps(stage.progress_at(step))
        return (step - stage.first_step) // distance > (before - stage.first_step) // distance

    def best(self, stages: Sequence[Stage]) -> Best:
        """The best value at a depth that may be the result; while channels go or widths shrink, the last one."""
        best = Best()
        for stage in stages:
            for value in stage.values:
                tie = value == best.value and stage.depth == best.depth
                better = value > best.value or tie or stage.phase in (PRUNE, SHRINK)
                improved = better and stage.depth in self.results
                best = Best(value, stage.depth, True) if improved else Best(best.value, best.depth, False)
        return best

    def _misses_so_far(self, stages: Sequence[Stage]) -> bool:
        """Whether there is a target that no epoch so far has met."""
        return self.rules.target is not None and not self._meets_target(self.best(stages).value)

    def _may_deepen(self, stages: Sequence[Stage], step: int) -> bool:
        """Whether there is a deeper network, not tried yet, and time for the rate to fall."""
        tried = max(stage.depth for stage in stages)
        in_time = self._end_of_growth - step >= (1 - FALL_FROM) * self.cycle_steps
        return tried <= stages[-1].depth < self.deepest and in_time

    def _may_be_left(self, stages: Sequence[Stage], step: int) -> bool:
        """Whether a forecast may end the stage at this step for a deeper network."""
        stage = stages[-1]
        undecided = stage.phase == CYCLE and stage.progress_at(step) <= DECIDED and self._misses_so_far(stages)
        return undecided and self._may_deepen(stages, step)

    def _may_train_longer(self, stages: Sequence[Stage], step: int) -> bool:
        return self.best(stages).depth > 0 and self._end_of_search - step >= self.fit.steps

    def _misses(self, stages: Sequence[Stage]) -> bool:
        """Whether even an optimistic forecast misses the target, and a deeper network fits."""
        stage = stages[-1]
        if not stage.checks or not self._may_be_left(stages, stage.last_step):
            return False
        if stage.depth not in self.results:
            return len(stage.checks) > 1
        slow = stage.checks[-1][1] < LIFTED_OFF
        deviations = self.rules.slack * (SLOW_START if slow else 1)
        hoped = forecast_end(stages, deviations, self.fit.check_images)
        return hoped is not None and not self._meets_target(hoped)

    def _is_found(self, stages: Sequence[Stage]) -> bool:
        """Whether the falling rate is forecast to take this depth to the target: pruning need not wait for it."""
        stage = stages[-1]
        step = stage.last_step
        after_epoch = stage.steps > 0 and step % self.fit.steps == 0
        if not self.fit.removal or stage.phase != CYCLE or stage.depth not in self.results or not after_epoch:
            return False
        if stage.progress_at(step) < FALL_FROM:
            return False
        if stage.complete:
            return not self._misses_so_far(stages)
        expected = forecast_end(stages)
        return expected is not None and self._meets_target(expected)

    def _meets_target(self, accuracy: float) -> bool:
        return self.rules.target is not None and meets(self.rules.target, accuracy)


def meets(target: float, accuracy: float) -> bool:
    """Whether an accuracy reaches the target, but for the rounding of float32."""
    return accuracy >= target - ROUNDING


def forecast_end(stages: Sequence[Stage], deviations: float = 0.0, check_images: int | None = None) -> float | None:
    """Forecasts the accuracy at the end of the last stage's cycle.

    Args:
        stages: so far: the last one's checks are continued, and all say how far checks differ from the accuracy on all
            validation images.
        deviations: how many of its deviations the end is taken to be above what is expected.
        check_images: that checks are measured on; `None` leaves their sampling error out.

    Returns:
        `None` where there are too few checks, as during the warm-up.
    """
    stage = stages[-1]
    bias, warm = _bias_of_checks(stages), warmup(stage.cycle_steps[0])
    points = [(stage.progress_at(step), min(1.0, max(0.0, accuracy + bias))) for step, accuracy in stage.checks]
    return forecast([point for point in points if point[0] > warm], deviations, check_images)


def _bias_of_checks(stages: Sequence[Stage]) -> float:
    """How much higher the accuracy on all validation images was, after epochs, than on those of the checks."""
    differences = []
    for stage in (stage for stage in stages if stage.phase == CYCLE):  # the others are checked on all of them
        checks = dict(stage.checks)
        ends = [epoch * stage.epoch_steps for epoch in stage.value_epochs]
        differences += [value - checks[end] for end, value in zip(ends, stage.values, strict=True) if end in checks]
    return sum(differences) / len(differences) if differences else 0.0
