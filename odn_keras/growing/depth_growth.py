"""`DepthGrowth`: the callback that grows a network; it keeps the stages, and `growth_plan` decides what follows them.

It knows nothing of how networks are built or trained: `odn_keras.growing.growing_fit` carries out what is decided.
"""

import math
from dataclasses import asdict
from typing import Any

import keras

from odn_keras.errors import InputError
from odn_keras.growing.growth_plan import ROUNDING, FitConditions, GrowthPlan, GrowthRules, forecast_end, meets
from odn_keras.growing.stage import CYCLE, Stage

RULES = ("target", "monitor", "max_depth", "cycle_epochs", "freeze", "slack", "shrink_epochs", "trained")


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
            of a cycle after an expansion, 150 steps at most.
        slack: how far a forecast is doubted, in the deviations of `odn_keras.growing.forecast`: a depth is left where
            even a forecast that much higher misses the target. The smaller, the cheaper the search, and the likelier
            it goes too deep.
        shrink_epochs: of `fit`'s epochs, how many at the end train the depth found at smaller widths too, by
            progressive shrinking, so that `odn_keras.specialize` can cut smaller networks out of it.
        trained: True where the network comes trained already: the first cycle begins in its middle, where the learning
            rate begins to fall, so that what was learned is kept.
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
        trained: bool = False,
        verbose: int | None = None,
    ):
        super().__init__()
        self.target, self.monitor, self.max_depth = target, monitor, max_depth
        self.cycle_epochs, self.freeze, self.slack, self.verbose = cycle_epochs, freeze, slack, verbose
        self.shrink_epochs, self.trained = shrink_epochs, trained
        GrowthRules(**self.settings())  # raises where one is out of range
        self._plan: GrowthPlan | None = None  # of the present `fit`
        self._forget()

    def _forget(self) -> None:
        self.stages: list[Stage] = []
        self.best, self.best_depth = -math.inf, 0
        self.improved = False
        self.rate_scale = 1.0

    @property
    def target_met(self) -> bool | None:
        """Whether the best accuracy meets the target; `None` without a target."""
        return None if self.target is None else meets(self.target, self.best)

    # What the fit asks.

    @property
    def plan(self) -> GrowthPlan:
        """Decides on the present `fit`, or the last one."""
        assert self._plan is not None, "begin has not been called"
        return self._plan

    @property
    def deepest(self) -> int:
        """The deepest network that the present `fit` may grow to."""
        return self.plan.deepest

    def begin(self, conditions: FitConditions) -> Stage:
        """Forgets an earlier `fit`, and plans the first stage of one under these conditions.

        Raises:
            InputError: where the settings do not go with the network or the epochs of the `fit`.
        """
        self._plan = GrowthPlan.of(GrowthRules(**self.settings()), conditions)
        self._forget()
        return self._plan.first_stage()

    def next_stage(self) -> Stage | None:
        """The stage that follows the one just trained; `None` when the run is over."""
        return self.plan.next_stage(self.stages)

    def is_over(self) -> bool:
        """Whether the present stage has come to its end."""
        return self.plan.is_over(self.stages)

    def forecast(self, stage: Stage) -> float | None:
        """The accuracy at which the cycle of a stage was forecast to end; `None` where there were too few checks.

        What later stages have shown does not change it: the depth was left for this forecast.
        """
        return forecast_end(self.stages[: self.stages.index(stage) + 1])

    def wants_check(self, before: int, step: int) -> bool:
        """Whether the accuracy at a step of the run, or since the step before, may decide something."""
        return self.plan.wants_check(self.stages, before, step)

    def add_check(self, step: int, accuracy: float) -> None:
        """Records the accuracy at a step of the run."""
        stage = self.stages[-1]
        stage.steps = step - stage.first_step
        stage.checks.append((step, accuracy))

    # What a checkpoint holds.

    def settings(self) -> dict[str, Any]:
        """The arguments that decide, as JSON: a training can be resumed only under the same."""
        return {name: getattr(self, name) for name in RULES}

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

    # What Keras calls.

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a `fit` in which no stage has begun: that of a plain `keras.Model`."""
        if not self.stages:
            raise InputError("DepthGrowth grows an OptimallyDeepNetwork: a plain keras.Model cannot change its depth")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch's accuracy and a forecast to the present stage, and finds the best network so far."""
        logs = logs or {}
        stage = self.stages[-1]
        if self.monitor not in logs:
            raise InputError(f"DepthGrowth monitors {self.monitor!r}, which is not logged; logged are {sorted(logs)}")
        value = float(logs[self.monitor])
        if not 0 <= value <= 1 + ROUNDING:
            raise InputError(f"DepthGrowth monitors an accuracy, from 0 to 1, but {self.monitor!r} is {value:g}")
        stage.values.append(value)
        step = (epoch + 1) * stage.epoch_steps
        if not (stage.checks and stage.checks[-1][0] == step):
            self.add_check(step, value)
        stage.forecasts.append(self.forecast(stage) if stage.phase == CYCLE else None)
        best = self.plan.best(self.stages)
        self.best, self.best_depth, self.improved = best.value, best.depth, best.improved
