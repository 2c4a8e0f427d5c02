"""Progressive depth expansion: the callback that decides, and the model that grows.

A run is a sequence of stages, each a plain `fit` of a plain functional network:

    search (prefix frozen, until converged) -> cool-down (one epoch, judged at a low learning rate)
        target out of reach:  one block deeper, search again
        target within reach:  fine-tune (everything thawed, one learning-rate cycle) -> target met: done

`DepthGrowth` makes the decisions and knows nothing of how networks are built; `OptimallyDeepNetwork` carries them out.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from odn_keras import builder, cost, recipes
from odn_keras.architectures import NetworkSpec
from odn_keras.errors import InputError

SEARCH, COOL_DOWN, FINE_TUNE = "search", "cool-down", "fine-tune"
FREEZE_POLICIES = ("prefix", "none")
ROUNDING = 1e-6  # metrics are float32: 9,930 right of 10,000 is logged as 0.99299997


IMPOSSIBLE_BESIDE_GROWTH = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.BackupAndRestore,
)


class TrainingDiverged(InputError):
    """The loss became NaN or infinite; the network holds the best weights from before that."""


@dataclass
class Stage:
    """The training at one depth in one phase.

    Attributes:
        depth: number of residual blocks.
        phase: `"search"`, `"cool-down"` or `"fine-tune"`.
        first_epoch: epochs of the whole run before this stage.
        end_epoch: the epoch of the whole run at which it ends at the latest.
        values: the monitored metric after each epoch.
        seconds: wall-clock time, building and compiling included.
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
        self.stages: list[Stage] = []
        self.best, self.best_depth, self.best_weights = -math.inf, 0, None

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
        self.stages, self.best, self.best_depth, self.best_weights = [], -math.inf, 0, None
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
        if not math.isfinite(logs.get("loss", 0.0)):
            raise TrainingDiverged(
                f"the loss became {logs['loss']} in epoch {epoch + 1} (depth {stage.depth}): lower the learning rate"
            )
        if self.monitor not in logs:
            raise InputError(f"DepthGrowth monitors {self.monitor!r}, which is not logged; logged are {sorted(logs)}")
        value = float(logs[self.monitor])
        stage.values.append(value)
        if value > self.best or (value == self.best and stage.depth == self.best_depth):
            self.best, self.best_depth, self.best_weights = value, stage.depth, self.model.get_weights()


class _OneTraining(keras.callbacks.CallbackList):
    """Shows the stages' many `fit`s to the user's callbacks as one training, and ends each stage.

    Attributes:
        stopped: whether another callback has stopped the training.
    """

    def __init__(self, growth: DepthGrowth, others: list[keras.callbacks.Callback], **arguments):
        super().__init__([growth, *others], **arguments)
        self._growth = growth
        self.begun = self.stopped = False

    def on_train_begin(self, logs=None):
        if not self.begun:
            self.begun = True
            super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.stopped = self.model.stop_training
        if self._growth.is_over(self._growth.stages[-1]):
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        """Not yet: another stage may follow."""

    def finish(self, logs=None):
        super().on_train_end(logs)

    def expanded(self):
        """Drops remembered weights that no longer fit the network."""
        for callback in self.callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping):
                callback.best_weights = None


class OptimallyDeepNetwork:
    """A residual classifier that finds its depth while it is trained.

    It is compiled, fitted, evaluated and saved like a `keras.Model`, but is none itself: it holds one, which growing
    replaces. Whatever is not defined here is the current network's own (`predict`, `summary`, `save`, `layers`, ...),
    so a saved file is a plain network that loads without this package. With a `DepthGrowth` among the callbacks `fit`
    grows the network, without one it trains it as it is.

    Args:
        backbone: `"resnet18"`, `"resnet34"` or `"resnet50"`.
        input_shape: (height, width, channels), in pixels.
        num_classes: number of classes; labels are 0 .. num_classes - 1.
        width: channels of the stem.
        stem_stride: 1, or 2 to quarter the activation memory.
        depth: residual blocks to start with.
        input_scale: what inputs are multiplied by first; the default expects raw pixels 0..255, use 1.0 for images
            that are scaled already.
        dtype: a Keras dtype policy; default: the global one.

    Attributes:
        network: the current network, a plain functional `keras.Model`.
        spec: its `NetworkSpec`.

    Raises:
        InputError: for a value out of range.
    """

    def __init__(
        self,
        backbone: str,
        input_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: int = 64,
        stem_stride: int = 1,
        depth: int = 1,
        input_scale: float = 1 / 255,
        dtype: str | None = None,
    ):
        self.spec = NetworkSpec(backbone, input_shape, num_classes, width, stem_stride, input_scale)
        self.network = builder.build(self.spec, depth, dtype)
        self._compile_arguments: dict[str, Any] | None = None

    @property
    def depth(self) -> int:
        """Number of residual blocks of the current network."""
        return builder.depth_of(self.network)

    def __getattr__(self, name):
        if name == "network":  # not built yet: without this, a failed constructor would recurse
            raise AttributeError(name)
        return getattr(self.network, name)

    def __call__(self, *args, **kwargs):
        return self.network(*args, **kwargs)

    def compile(self, optimizer="sgd", loss="sparse_categorical_crossentropy", **kwargs):
        """As `keras.Model.compile`, with accuracy as the default metric and `jit_compile` as measurement favours.

        Every stage of a growing `fit` gets a fresh copy of the optimizer. A constant learning rate is taken as the
        peak of each stage's schedule (see `odn_keras.recipes`); a `LearningRateSchedule` is left alone and runs on
        across the stages.
        """
        self._compile_arguments = {
            "optimizer": keras.optimizers.get(optimizer),
            "loss": loss,
            "metrics": ["accuracy"],
            "jit_compile": recipes.jit_compile(),
            **kwargs,
        }
        self.network.compile(**{**self._compile_arguments, "optimizer": self._fresh_optimizer()})

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose="auto",
        callbacks: Sequence[keras.callbacks.Callback] | keras.callbacks.Callback | None = None,
        validation_split: float = 0.0,
        validation_data=None,
        *,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        **kwargs,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; with a `DepthGrowth` callback the network grows.

        Epoch numbers and the returned `History` run on across the stages, and the other callbacks see one training.
        `epochs` is the budget of the whole run. Afterwards the network holds the weights of the best epoch. Each
        stage has a fresh optimizer, whose `iterations` start at 0 again.

        Raises:
            InputError: without validation data after every epoch, where the monitored metric is not logged, or with a
                callback that cannot work beside growth: one that sets the learning rate, or `BackupAndRestore`.
            TrainingDiverged: where the loss becomes NaN or infinite; the best weights so far are restored.
        """
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        growths = [callback for callback in callbacks if isinstance(callback, DepthGrowth)]
        data = {"x": x, "y": y, "batch_size": batch_size, "steps_per_epoch": steps_per_epoch, **kwargs}
        data |= {"validation_data": validation_data, "validation_split": validation_split}
        if not growths:
            return self.network.fit(
                **data, epochs=epochs, initial_epoch=initial_epoch, callbacks=callbacks, verbose=verbose
            )
        if len(growths) > 1:
            raise InputError(f"one DepthGrowth callback decides, got {len(growths)}")
        if self._compile_arguments is None:
            raise InputError("compile the model before fit")
        if validation_data is None and not validation_split:
            raise InputError("DepthGrowth compares validation accuracy with the target: give fit validation_data")
        if kwargs.get("validation_freq", 1) != 1:
            raise InputError(
                f"DepthGrowth decides after every epoch: validation_freq must be 1, got {kwargs['validation_freq']}"
            )
        for callback in callbacks:
            if isinstance(callback, IMPOSSIBLE_BESIDE_GROWTH):
                raise InputError(
                    f"{type(callback).__name__} cannot work beside DepthGrowth, which sets the learning rate "
                    "and replaces the network: leave it out"
                )
        if epochs <= initial_epoch:
            raise InputError(f"epochs must be more than initial_epoch, got {epochs} and {initial_epoch}")

        growth = growths[0]
        steps = steps_per_epoch or _count_steps(x, batch_size, validation_split)
        verbose = 1 if verbose == "auto" else verbose
        others = [callback for callback in callbacks if callback is not growth]
        listeners = _OneTraining(
            growth,
            others,
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            model=self.network,
        )
        stage: Stage | None = growth.begin(self.depth, self.spec.max_depth, initial_epoch, epochs)
        try:
            while stage is not None:
                started = time.perf_counter()
                growth.stages.append(stage)
                self._enter(stage, growth, steps, listeners)
                if growth.verbose:
                    print(_headline(stage, self.spec.max_depth, growth), flush=True)
                self.network.fit(**data, initial_epoch=stage.first_epoch, epochs=stage.end_epoch, callbacks=listeners)
                stage.seconds = time.perf_counter() - started
                stage = None if listeners.stopped else growth.next_stage()
            listeners.finish()
        finally:
            self._settle(growth)
            listeners.set_model(self.network)
        return self.network.history

    def _enter(self, stage: Stage, growth: DepthGrowth, steps: int, listeners: _OneTraining) -> None:
        """Makes the network what the stage needs: depth, frozen layers, optimizer, schedule."""
        searching = stage.phase != FINE_TUNE
        if stage.depth > self.depth:
            self.network, stage.fresh_layers = builder.deepen(self.network, self.spec)
            listeners.expanded()
        freeze = searching and growth.freeze == "prefix" and stage.depth > 1
        builder.set_frozen(self.network, stage.depth - 1 if freeze else None)
        stage.training_macs_per_image = cost.training_macs(self.network)

        schedules: dict[str, Callable] = {
            SEARCH: lambda peak: recipes.search_schedule(peak, steps),
            COOL_DOWN: lambda peak: recipes.cool_down_schedule(peak, steps),
            FINE_TUNE: lambda peak: recipes.fine_tune_schedule(peak, steps * (stage.end_epoch - stage.first_epoch)),
        }
        optimizer = self._fresh_optimizer(schedules[stage.phase])
        optimizer.iterations.assign(0 if self._peak() is not None else stage.first_epoch * steps)
        self.network.compile(**{**(self._compile_arguments or {}), "optimizer": optimizer})
        listeners.set_model(self.network)

    def _settle(self, growth: DepthGrowth) -> None:
        """Ends the run on the weights of the best epoch, thawed and compiled as the user compiled it."""
        if growth.best_weights is not None:
            if growth.best_depth != self.depth:
                dtype = self.network.get_layer("stem_conv").dtype_policy.name
                self.network = builder.build(self.spec, growth.best_depth, dtype)
            self.network.set_weights(growth.best_weights)
        builder.set_frozen(self.network, None)
        optimizer = self._fresh_optimizer()
        optimizer.build(self.network.trainable_variables)
        self.network.compile(**{**(self._compile_arguments or {}), "optimizer": optimizer})

    def _peak(self) -> float | None:
        """The constant learning rate the user compiled with; `None` for a schedule."""
        rate = (self._compile_arguments or {})["optimizer"].get_config()["learning_rate"]
        return None if isinstance(rate, dict) else float(rate)

    def _fresh_optimizer(self, schedule: Callable | None = None) -> keras.optimizers.Optimizer:
        optimizer = (self._compile_arguments or {})["optimizer"]
        config = optimizer.get_config()
        if schedule is not None and (peak := self._peak()) is not None:
            config["learning_rate"] = schedule(peak)
        return type(optimizer).from_config(config)


def _headline(stage: Stage, deepest: int, growth: DepthGrowth) -> str:
    length = stage.end_epoch - stage.first_epoch
    what = {
        SEARCH: "training until converged",
        COOL_DOWN: "one epoch of decaying learning rate, to judge it",
        FINE_TUNE: f"fine-tuning everything for {length} {'epoch' if length == 1 else 'epochs'}",
    }[stage.phase]
    best = f", best so far {growth.best:.4f}" if growth.best_weights is not None else ""
    return f"\n== depth {stage.depth} of {deepest}: {what} (target {growth.target:.4f}{best})"


def _count_steps(x, batch_size: int | None, validation_split: float) -> int:
    """Training steps of one epoch, as Keras will make them."""
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    arrays = keras.tree.flatten(x)
    if hasattr(arrays[0], "shape"):
        samples = math.floor(arrays[0].shape[0] * (1 - validation_split))
        return math.ceil(samples / (batch_size or 32))
    endless = hasattr(x, "cardinality") and int(x.cardinality()) == -1
    if endless or hasattr(x, "__next__"):
        raise InputError(
            f"give fit steps_per_epoch: how many batches an epoch of this {type(x).__name__} has is unknown"
        )
    try:
        return len(x)
    except TypeError:  # a dataset that does not know its length: one pass tells
        return sum(1 for _ in x)
