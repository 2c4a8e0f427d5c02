"""Progressive depth expansion: the callback that decides.

A run is a sequence of stages, each a plain `fit` of a plain functional network:

    search (prefix frozen, until converged) -> cool-down (one epoch, judged at a low learning rate)
        target out of reach:  one block deeper, search again
        target within reach:  fine-tune (everything thawed, one learning-rate cycle) -> target met: done

`DepthGrowth` makes the decisions and knows nothing of how networks are built or trained; `odn_keras.stages` carries
them out.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from odn_keras.errors import InputError

SEARCH, COOL_DOWN, FINE_TUNE = "search", "cool-down", "fine-tune"
FREEZE_POLICIES = ("prefix", "none")
ROUNDING = 1e-6  # metrics are float32: 9,930 right of 10,000 is logged as 0.99299997


@dataclass
class Stage:
    """The training at one depth in one phase.

    Attributes:
        depth: number of residual blocks.
        phase: `"search"`, `"cool-down"` or `"fine-tune"`.
        first_epoch: epochs of the whole run before this stage.
        end_epoch: the epoch of the whole run at which it ends at the latest.
        values: the monitored metric after each epoch.
        seconds: wall-clock time, building and compiling included, as of its last complete epoch.
        training_macs_per_image: multiply-accumulates of one training step on one image.
        fresh_layers: layers that started without carried-over weights.
    """

    depth: int
    phase: str
    first_epoch: int
    end_epoch: int
    values: list[float] = field(default_factory=list)
    seconds: float = 0.0
    training_macs_per_image: int = 0
    fresh_layers: list[str] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        return len(self.values)

    @property
    def best(self) -> float:
        return max(self.values, default=-math.inf)


class DepthGrowth(keras.callbacks.Callback):
    """Grows an `OptimallyDeepNetwork` during `fit` until a target accuracy is met.

    Args:
        target: accuracy to reach on validation data, in (0, 1].
        monitor: the logged metric that is compared with the target.
        max_depth: deepest network tried; default: the whole backbone.
        freeze: `"prefix"` trains only the newest block and the head while searching, `"none"` everything. The
            fine-tuning always trains everything.
        margin: fine-tuning begins once the metric is this close to the target; it is what fine-tuning may be trusted
            to bring. (The paper's code trains every depth to its end and takes 0.005.)
        patience: epochs over which progress is measured while searching, at least 1.
        min_delta: less progress than this in `patience` epochs means that the depth has converged.
        finetune_epochs: length of the fine-tuning; the last so many epochs of `fit` are kept for it. Default: a third
            of `fit`'s epochs.
        verbose: 0 is silent, 1 prints one headline per stage.

    Attributes:
        stages: the `Stage`s so far, in order.
        best: the best value of the metric in the run, at any depth.
        target_met: whether `best` is at least the target.
        rate_scale: what all learning rates are multiplied by: 1, or 0.1 after a divergence.

    Raises:
        InputError: for a value out of range, here or (max_depth) when `fit` begins.
    """

    def __init__(
        self,
        target: float,
        *,
        monitor: str = "val_accuracy",
        max_depth: int | None = None,
        freeze: str = "prefix",
        margin: float = 0.02,
        patience: int = 1,
        min_delta: float = 0.001,
        finetune_epochs: int | None = None,
        verbose: int = 1,
    ):
        super().__init__()
        if not 0 < target <= 1:
            raise InputError(f"the target accuracy must be in (0, 1], got {target}")
        if freeze not in FREEZE_POLICIES:
            raise InputError(f"freeze must be one of {', '.join(FREEZE_POLICIES)}, got {freeze!r}")
        if patience < 1 or min_delta < 0 or margin < 0:
            raise InputError(
                "patience must be at least 1, min_delta and margin at least 0, "
                f"got {patience}, {min_delta} and {margin}"
            )
        if finetune_epochs is not None and finetune_epochs < 1:
            raise InputError(f"finetune_epochs must be at least 1, got {finetune_epochs}")
        self.target, self.monitor, self.max_depth, self.freeze = target, monitor, max_depth, freeze
        self.margin, self.patience, self.min_delta = margin, patience, min_delta
        self.finetune_epochs, self.verbose = finetune_epochs, verbose
        self._forget()

    def _forget(self) -> None:
        self.stages: list[Stage] = []
        self.best, self.best_depth = -math.inf, 0
        self.best_weights: list[np.ndarray] | None = None
        self.rate_scale = 1.0

    @property
    def target_met(self) -> bool:
        return self.best >= self.target - ROUNDING

    def begin(self, depth: int, deepest: int, first_epoch: int, epochs: int) -> Stage:
        """Plans the first stage of a `fit` from `first_epoch` to `epochs` of a network at `depth` of `deepest`."""
        if self.max_depth is not None and not depth <= self.max_depth <= deepest:
            raise InputError(f"max_depth must be {depth} (the present depth) to {deepest}, got {self.max_depth}")
        self._deepest = self.max_depth or deepest
        self._epochs = epochs
        budget = epochs - first_epoch
        if self.finetune_epochs is not None and self.finetune_epochs >= budget:
            raise InputError(f"finetune_epochs ({self.finetune_epochs}) must be below the epochs of fit ({budget})")
        self._reserve = self.finetune_epochs or max(budget // 3, min(1, budget - 1))
        self._forget()
        return self._search_or_finetune(depth, first_epoch)

    def next_stage(self) -> Stage | None:
        """Plans what follows the stage just trained; `None` when the run is over."""
        stage = self.stages[-1]
        epoch = stage.first_epoch + stage.epochs
        deeper_fits = stage.depth < self._deepest and self._epochs - epoch > self._reserve
        if stage.phase == FINE_TUNE:
            return self._search_or_finetune(stage.depth + 1, epoch) if deeper_fits and not self.target_met else None
        if not self._within_reach(stage) and deeper_fits:
            if stage.phase == SEARCH:
                return Stage(stage.depth, COOL_DOWN, epoch, epoch + 1)
            return self._search_or_finetune(stage.depth + 1, epoch)
        end = min(epoch + self._reserve, self._epochs)
        return Stage(stage.depth, FINE_TUNE, epoch, end) if end > epoch else None

    def _search_or_finetune(self, depth: int, epoch: int) -> Stage:
        search_end = self._epochs - self._reserve
        if epoch < search_end:
            return Stage(depth, SEARCH, epoch, search_end)
        return Stage(depth, FINE_TUNE, epoch, self._epochs)

    def _within_reach(self, stage: Stage) -> bool:
        return stage.best >= self.target - self.margin - ROUNDING

    def _converged(self, stage: Stage) -> bool:
        """No progress, or at the present pace the target stays out of reach for `patience` more epochs."""
        if stage.epochs <= self.patience:
            return False
        gain = stage.best - max(stage.values[: -self.patience])
        return gain < self.min_delta or stage.best + gain < self.target - self.margin

    def settings(self) -> dict[str, Any]:
        """What decides, as JSON: a training can be resumed only under the same."""
        names = ("target", "monitor", "max_depth", "freeze", "margin", "patience", "min_delta", "finetune_epochs")
        return {name: getattr(self, name) for name in names}

    def state(self) -> dict[str, Any]:
        """What has been seen and decided so far, as JSON; the best weights are kept beside it."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "best": self.best,
            "best_depth": self.best_depth,
        }

    def restore(self, state: dict[str, Any], best_weights: list[np.ndarray] | None) -> None:
        """Returns to an earlier `state`."""
        self.stages = [Stage(**stage) for stage in state["stages"]]
        self.best, self.best_depth, self.best_weights = state["best"], state["best_depth"], best_weights

    def on_train_begin(self, logs=None):
        if not self.stages:
            raise InputError("DepthGrowth grows an OptimallyDeepNetwork: a plain keras.Model cannot change its depth")

    def is_over(self, stage: Stage) -> bool:
        """Whether the stage has come to its end."""
        if stage.first_epoch + stage.epochs == stage.end_epoch:
            return True
        return stage.phase == SEARCH and (self._within_reach(stage) or self._converged(stage))

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        stage = self.stages[-1]
        if self.monitor not in logs:
            raise InputError(f"DepthGrowth monitors {self.monitor!r}, which is not logged; logged are {sorted(logs)}")
        value = float(logs[self.monitor])
        stage.values.append(value)
        if value > self.best or (value == self.best and stage.depth == self.best_depth):
            self.best, self.best_depth, self.best_weights = value, stage.depth, self.model.get_weights()
