"""Carries out what `DepthGrowth` decides: a growing `fit` is one plain Keras `fit` per stage, resumable at any step."""

import json
import math
import random
import time
import warnings
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from odn_keras import averaging, builder, cost, distribution, elastic, recipes, subnetwork
from odn_keras.architectures import NetworkSpec
from odn_keras.checkpoint import Checkpoint, Snapshot
from odn_keras.distillation import Distillation, trained_model
from odn_keras.errors import InputError
from odn_keras.growth import CYCLE, PRUNE, RECOVER, SETTLE, SHRINK, DepthGrowth, Stage
from odn_keras.prune import ChannelPruning
from odn_keras.prune.pruner import Pruner
from odn_keras.prune.surgery import compact, removable

RETRY_RATE = 0.1
CROSS_ENTROPIES = (
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
)
SHRINK_CLIPNORM = 1.0  # of all gradients: those of the narrowest networks are so large that they undo what was learned
LOSS_CHECKED_EVERY = 100  # steps: to read the loss is to wait for the device


class TrainingDiverged(InputError):
    """The loss exploded or became NaN; the network holds the best weights from before that."""


class GrowingFit:
    """One training through all its stages.

    Args:
        network: to start with; replaced as the training goes deeper.
        spec: what it was built from.
        compile_arguments: of `keras.Model.compile`, for every stage; each gets a copy of the optimizer.
        growth: decides.
        checkpoint: where snapshots are kept, if anywhere.
        callbacks: the user's others.
        data: arguments of `keras.Model.fit` that say what to train and validate on.
        steps: training steps of an epoch.
        initial_epoch, epochs, verbose: as in `keras.Model.fit`.
        teacher: of all outputs; default: the end of the network teaches its exits and, while its widths shrink, the
            network that was found teaches the smaller ones.
        distillation: how much is learned from whom.
        pruning: what prunes the depth that is found, if anything.

    Attributes:
        network: the present network.
        spec: what it is built from; after pruning, that of the compact network.
        fitted: what Keras fits: the network, or a `Distiller` around it.
        first_step: steps of the present epoch that were done before an interruption.
    """

    def __init__(
        self,
        network: keras.Model,
        spec: NetworkSpec,
        compile_arguments: dict[str, Any],
        growth: DepthGrowth,
        checkpoint: Checkpoint | None,
        callbacks: list[keras.callbacks.Callback],
        data: dict[str, Any],
        steps: int,
        initial_epoch: int,
        epochs: int,
        verbose,
        teacher: keras.Model | None,
        distillation: Distillation,
        pruning: ChannelPruning | None = None,
    ):
        self.network, self.spec, self.fitted = network, builder.spec_of(network, spec), network
        self._pruning = pruning.of_trained() if pruning else None
        self._pruner: Pruner | None = None  # in its stage
        if self._pruning:
            self._pruning.check(self.spec, builder.depth_of(network), growth.max_depth or spec.max_depth)
        self._teacher, self._distillation = teacher, distillation
        self._found: keras.Model | None = None  # teaches while widths shrink
        self._best_weights: list[np.ndarray] | None = None
        self._compile_arguments = compile_arguments
        self._growth, self._checkpoint = growth, checkpoint
        self._data, self._steps, self._weighted = dict(data), steps, _is_weighted(data)
        whole_epochs = data.get("steps_per_epoch") is None
        self._seek = getattr(data["x"], "seek", None) if whole_epochs else None
        if self._seek:  # it shuffles itself, by seed and epoch; Keras would shuffle its batches otherwise
            self._data["shuffle"] = False
        self._initial_epoch, self._epochs, self._verbose = initial_epoch, epochs, verbose
        self._settings = self._describe()
        self.first_step = 0
        self._trained_weights: list[np.ndarray] | None = None  # while the network holds the averaged ones
        self._clock = 0.0
        self._history = _History()
        self._history.epoch = []
        self._listeners = _OneTraining(
            self,
            # Before the others, one of which may fail: the best weights must be those of the best depth.
            [growth, keras.callbacks.LambdaCallback(on_epoch_end=self._keep_best), self._history, *callbacks],
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
            model=network,
        )

    def run(self) -> keras.callbacks.History:
        """Trains, from the checkpoint if there is one; leaves `network` with the weights of the best epoch."""
        if self._checkpoint is None:
            return self._run()
        with self._checkpoint.deferring_signals():
            return self._run()

    def _run(self) -> keras.callbacks.History:
        growth = self._growth
        depth, deepest = builder.depth_of(self.network), self.spec.max_depth
        removal = self._pruning.plan.end if self._pruning else 0.0
        first = growth.begin(depth, deepest, self._initial_epoch, self._epochs, self._steps, removal=removal)
        earlier = self._checkpoint.load() if self._checkpoint else None
        try:
            if self._checkpoint and earlier:
                self._check_settings(earlier, self._checkpoint)
                self._restore(earlier)
            else:
                self._enter_new(first)
                self._keep(self._snapshot(self._initial_epoch))
            stage = self._present_or_next()
            epochs = self._history.epoch
            self._listeners.begin()
            self._history.epoch = epochs  # which beginning has emptied
            while stage is not None:
                try:
                    self._train(stage)
                except TrainingDiverged as error:
                    if growth.rate_scale != 1:
                        raise
                    warnings.warn(f"{error}; going on from the epoch before with a tenth of it", stacklevel=2)
                    growth.rate_scale = RETRY_RATE
                    self._restore(self._last)
                stage = self._present_or_next()
            self._listeners.finish()
        finally:
            self._settle()
        return self._history

    def _present_or_next(self) -> Stage | None:
        """The stage to go on with; `None` at the end of the training."""
        if self._listeners.stopped:
            return None
        stage = self._growth.stages[-1]
        if not self._growth.is_over(stage):
            if stage.end_epoch != self._planned_end:  # it has been lengthened: another schedule from here on
                self._restore(self._last)
            return self._growth.stages[-1]
        following = self._growth.next_stage()
        if following is not None:
            self._enter_new(following)
        return following

    def _train(self, stage: Stage) -> None:
        epoch = stage.first_epoch + stage.epochs
        until = epoch + 1 if self.first_step else stage.end_epoch  # the rest of an interrupted epoch is its own fit
        self.on_epoch_begin(epoch)  # now already, for Keras asks for the number of batches first
        self.fitted.fit(**self._data, initial_epoch=epoch, epochs=until, callbacks=self._listeners)

    # What the listeners call.

    def on_epoch_begin(self, epoch: int) -> None:
        if self._trained_weights is not None:
            self.network.set_weights(self._trained_weights)
            self._trained_weights = None
        if self._seek:
            self._seek(epoch, self.first_step)

    def on_step_begin(self, step: int) -> None:
        """Draws the widths that the step trains, if they shrink; by epoch and step, so that a run can be resumed."""
        stage = self._growth.stages[-1]
        if stage.phase != SHRINK:
            return
        self._listeners.set_model(self._listeners.model)  # on JAX the variables lie elsewhere between steps
        smallest = list(elastic.shrinking(stage.end_epoch - stage.first_epoch))[stage.epochs]
        elastic.draw_widths(self.network, smallest, np.random.default_rng([stage.first_epoch + stage.epochs, step]))

    def on_validation_begin(self) -> None:
        """Puts the averaged weights in, which stay until the next epoch begins: what is judged is what is kept."""
        network = self.network
        elastic.widen(network)
        self._trained_weights = network.get_weights()
        self.fitted.optimizer.finalize_variable_values(network.trainable_variables)
        network.set_weights(network.get_weights())  # no longer the optimizer's arrays: JAX's steps delete what they get
        if self._pruner:
            self._pruner.hold()
        images = averaging.some_batches(self._data["x"], self._data["batch_size"], self._data["validation_split"])
        averaging.recalibrate(network, images)

    def on_step_end(self, step: int, loss: float) -> None:
        """Looks, after a training step, at what cannot wait for the end of the epoch."""
        stage = self._growth.stages[-1]
        epoch = stage.first_epoch + stage.epochs
        if not stage.setup_seconds:
            stage.setup_seconds = time.perf_counter() - self._clock
        if step == self.first_step and self.first_step:
            self._add_interrupted_metrics()
        if self._pruner and self._pruner.due(stage.epochs * self._steps + step):
            self._listeners.set_model(self._listeners.model)  # as in on_step_begin
            self._pruner.after_step(stage.epochs * self._steps + step)
        stop = self._checkpoint is not None and self._checkpoint.stop_requested
        if stop or (step + 1) % LOSS_CHECKED_EVERY == 0:
            self.check_loss(epoch, loss)  # before a stop as well: what is not sound must not be kept
        if self._checkpoint and stop:
            if self._seek and step + 1 < self._steps:
                self._checkpoint.save(self._snapshot(epoch, step + 1))
            if not self._seek or step + 1 < self._steps:
                self._checkpoint.stop()

    def check_loss(self, epoch: int, loss: float) -> None:
        """Raises `TrainingDiverged` for a training loss that a healthy training does not have."""
        loss = float(loss)
        if not math.isfinite(loss) or loss > self._worst_loss():
            raise TrainingDiverged(
                f"the loss became {loss:.4g} in epoch {epoch + 1} (depth {self._growth.stages[-1].depth}): "
                "lower the learning rate"
            )

    def _worst_loss(self) -> float:
        """Half-way from guessing to surely wrong, where the loss is a plain cross-entropy, else no limit."""
        if self._loss_name() not in CROSS_ENTROPIES or self._weighted:
            return math.inf
        classes = self.spec.num_classes
        surely_wrong = -math.log(keras.config.epsilon()) * (1 - 1 / classes)
        return getattr(self.fitted, "loss_scale", 1) * (math.log(classes) + surely_wrong) / 2

    def _loss_name(self) -> str:
        loss = self._compile_arguments["loss"]
        return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)

    def on_epoch_end(self, epoch: int) -> None:
        now = time.perf_counter()
        stage = self._growth.stages[-1]
        stage.seconds, self._clock = stage.seconds + now - self._clock, now
        self.first_step = 0
        self._keep(self._snapshot(epoch + 1))
        if self._checkpoint and self._checkpoint.stop_requested:
            self._checkpoint.stop()
        if self._growth.is_over(stage) or stage.end_epoch != self._planned_end:
            self.fitted.stop_training = True

    def _keep_best(self, epoch: int, logs: dict[str, Any]) -> None:
        if self._growth.improved:
            self._best_weights = self.network.get_weights()

    # Stages.

    def _enter_new(self, stage: Stage) -> None:
        """Makes the network what a new stage needs: deeper, or elastic, frozen, compiled."""
        self._clock = time.perf_counter()
        growth, before = self._growth, self.network
        growth.stages.append(stage)
        self._trained_weights = None  # it goes on from the averaged ones
        if stage.phase in (PRUNE, RECOVER, SHRINK):
            self._take_best(stage.depth)
        if stage.phase in (RECOVER, SHRINK):
            self._compact()
        if stage.phase == SHRINK:
            self._make_elastic(stage.depth)
        elif stage.depth > builder.depth_of(self.network):
            self.network, stage.fresh_layers = builder.deepen(self.network, self.spec)
        if self.network is not before:
            self._listeners.forget_weights()
        self._prepare(stage)
        stage.training_macs_per_image = cost.training_macs(self.network)
        if teacher := self._teacher or self._found:
            stage.training_macs_per_image += cost.macs(teacher)
        if self._verbose if growth.verbose is None else growth.verbose:
            print(_headline(stage, growth), flush=True)

    def _take_best(self, depth: int) -> None:
        """Makes the network that of the best epoch, if that was one at this depth."""
        self._rebuild(depth)
        if self._best_weights is not None and self._growth.best_depth == depth:
            self.network.set_weights(self._best_weights)

    def _compact(self) -> None:
        """Leaves out the channels that have been pruned, if any."""
        if self._pruner and removable(self.network):
            self.network = compact(self.network)
            self.spec = builder.spec_of(self.network, self.spec)
            self._best_weights = self.network.get_weights()
        self._pruner = None

    def _make_elastic(self, depth: int) -> None:
        """Goes on with the network's channels in the order of their importance; keeps it as teacher."""
        subnetwork.sort_channels(self.network, self.spec)
        self._found = builder.at_exit(self.network, self.spec, depth)
        found = self.network
        self.network = builder.build(self.spec, depth, self._dtype(), elastic=True)
        builder.transfer_weights(found, self.network)

    def _prepare(self, stage: Stage) -> None:
        """Freezes and compiles the network as the stage wants it."""
        self._planned_end = stage.end_epoch
        builder.set_frozen(self.network, stage.depth - 1 if stage.phase == SETTLE else None)
        steps = self._steps
        begin, end = self._growth.cycle(stage)
        length, done = steps * (end - begin), steps * (stage.first_epoch - begin)
        schedule = None if stage.phase == SETTLE else partial(recipes.one_cycle, steps=length, first_step=done)
        self._pruner = None
        if stage.phase == PRUNE and self._pruning:
            self._pruner = self._pruning.pruner(self.network, length)
        template = self._compile_arguments["optimizer"]
        momentum = averaging.averaging_momentum(steps)
        first = stage.first_epoch * steps
        clipped = SHRINK_CLIPNORM if stage.phase == SHRINK else None
        self._compile(recipes.fresh_optimizer(template, schedule, self._growth.rate_scale, momentum, first, clipped))

    def _settle(self) -> None:
        """Ends on the weights of the best epoch, thawed and compiled as the user compiled it."""
        growth = self._growth
        if self._best_weights is not None:
            shrunk = growth.stages[-1].phase == SHRINK and growth.stages[-1].epochs > 0
            self._rebuild(growth.best_depth, elastic_width=shrunk)
            self.network.set_weights(self._best_weights)
        self._compact()
        if elastic.elastic_layers(self.network):
            trained = self.network
            self._rebuild(builder.depth_of(trained))
            builder.transfer_weights(trained, self.network)
        builder.set_frozen(self.network, None)
        self._found = None
        self._compile(recipes.fresh_optimizer(self._compile_arguments["optimizer"]))

    def _compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        optimizer.build(self.network.trainable_variables)
        self.fitted = trained_model(self.network, self._teacher or self._found, self._distillation)
        self.fitted.compile(**{**self._compile_arguments, "optimizer": optimizer})
        self._listeners.set_model(self.fitted)

    def _rebuild(self, depth: int, *, elastic_width: bool = False) -> None:
        """Replaces the network by a fresh one, unless it is of that kind."""
        is_elastic = bool(elastic.elastic_layers(self.network))
        other_channels = builder.spec_of(self.network, self.spec) != self.spec
        if other_channels or (depth, elastic_width) != (builder.depth_of(self.network), is_elastic):
            self.network = builder.build(self.spec, depth, self._dtype(), elastic=elastic_width)

    def _dtype(self) -> str:
        return self.network.get_layer("stem_conv").dtype_policy.name

    # Snapshots.

    def _keep(self, snapshot: Snapshot) -> None:
        self._last = snapshot
        if self._checkpoint:
            with distribution.together():
                self._checkpoint.save(snapshot)

    def _snapshot(self, epoch: int, step: int = 0) -> Snapshot:
        # On JAX the present weights are there only after this, in the middle of an epoch.
        fitted = self._listeners.model
        growth = self._growth
        return Snapshot(
            epoch,
            step,
            {
                "settings": self._settings,
                "growth": growth.state(),
                "rate_scale": growth.rate_scale,
                "history": _copy(self._history.history),
                "stopped": self._listeners.stopped,
                "random": random.getstate(),
                "channels": {"inner": self.spec.inner, "stream": self.spec.stream},
                "pruned": self._pruner.state() if self._pruner else None,
            },
            {
                "weights": self.network.get_weights(),
                "trained": self._trained_weights or [],
                "optimizer": [np.array(variable) for variable in fitted.optimizer.variables],
                "metrics": [np.array(variable) for variable in fitted.metrics_variables] if step else [],
                "best": self._best_weights or [],
                "found": self._found.get_weights() if self._found else [],
            },
        )

    def _restore(self, snapshot: Snapshot) -> None:
        """Makes everything what it was at the snapshot, but for the learning rate if that was lowered since."""
        growth, state = self._growth, snapshot.state
        growth.restore(state["growth"])
        self._best_weights = snapshot.arrays["best"] or None
        growth.rate_scale = min(growth.rate_scale, state["rate_scale"])
        self.spec = replace(self.spec, **state["channels"])
        stage = growth.stages[-1]
        self._rebuild(stage.depth, elastic_width=stage.phase == SHRINK)
        if stage.phase == SHRINK:
            self._found = builder.at_exit(self.network, self.spec, stage.depth)
            self._found.set_weights(snapshot.arrays["found"])
        self._prepare(stage)
        if self._pruner:
            self._pruner.restore(state["pruned"])
        self.network.set_weights(snapshot.arrays["weights"])
        self._trained_weights = snapshot.arrays["trained"] or None
        for variable, value in zip(self.fitted.optimizer.variables, snapshot.arrays["optimizer"], strict=True):
            variable.assign(value)
        peak = recipes.peak_of(self._compile_arguments["optimizer"])
        if stage.phase == SETTLE and peak is not None:  # a constant rate is one of the optimizer's variables
            self.fitted.optimizer.learning_rate = peak * growth.rate_scale
        self.first_step, self._interrupted_metrics = snapshot.step, snapshot.arrays["metrics"]
        self._history.epoch = list(range(self._initial_epoch, snapshot.epoch))
        self._history.history = _copy(state["history"])
        self._listeners.stopped = state["stopped"]
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))
        self._last = snapshot
        self._clock = time.perf_counter()

    def _add_interrupted_metrics(self) -> None:
        """Adds what the metrics had counted before the interruption: all of Keras's are sums."""
        for variable, value in zip(self._listeners.model.metrics_variables, self._interrupted_metrics, strict=True):
            variable.assign(variable + value)

    def _describe(self) -> dict[str, Any]:
        """What a training must have in common with the one it goes on with, as JSON."""
        optimizer = keras.optimizers.serialize(self._compile_arguments["optimizer"])
        del optimizer["config"]["name"]  # numbered through
        settings = {
            **asdict(self.spec),
            **asdict(self._distillation),
            "taught": self._teacher is not None,
            "pruning": self._pruning and asdict(self._pruning.plan),
            **self._growth.settings(),
            "dtype": self._dtype(),
            "loss": self._loss_name(),
            "optimizer": optimizer["class_name"],
            **optimizer["config"],
            "initial_epoch": self._initial_epoch,
            "epochs": self._epochs,
            "steps_per_epoch": self._steps,
        }
        return json.loads(json.dumps(settings, default=str))

    def _check_settings(self, snapshot: Snapshot, checkpoint: Checkpoint) -> None:
        for name, now in self._settings.items():
            before = snapshot.state["settings"].get(name)
            if before != now:
                raise InputError(
                    f"the checkpoint in {checkpoint.folder} is of another training: {name} was {before}, is {now}"
                )


class _History(keras.callbacks.History):
    """Has a value of every metric for every epoch, NaN for an exit that the network of that epoch had not."""

    def on_epoch_end(self, epoch, logs=None):
        for name in logs:
            self.history.setdefault(name, [math.nan] * len(self.epoch))
        super().on_epoch_end(epoch, {**dict.fromkeys(self.history, math.nan), **logs})


class _OneTraining(keras.callbacks.CallbackList):
    """Shows the many `fit`s of the stages to the callbacks as one training, and tells `GrowingFit` of every step.

    Attributes:
        stopped: whether one of the callbacks has stopped the training.
    """

    def __init__(self, growing: GrowingFit, callbacks: list[keras.callbacks.Callback], **arguments):
        super().__init__(callbacks, **arguments)
        self._growing = growing
        self.stopped = False

    def begin(self):
        super().on_train_begin()

    def finish(self):
        super().on_train_end()

    def on_train_begin(self, logs=None):
        """Has been called, by `begin`."""

    def on_train_end(self, logs=None):
        """Will be called, by `finish`: another stage may follow."""

    def on_epoch_begin(self, epoch, logs=None):
        self._growing.on_epoch_begin(epoch)
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._growing.on_step_begin(batch + self._growing.first_step)
        super().on_train_batch_begin(batch + self._growing.first_step, logs)

    def on_train_batch_end(self, batch, logs=None):
        step = batch + self._growing.first_step
        super().on_train_batch_end(step, logs)
        self._growing.on_step_end(step, (logs or {}).get("loss", 0.0))

    def on_test_begin(self, logs=None):
        self._growing.on_validation_begin()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._growing.check_loss(epoch, (logs or {}).get("loss", 0.0))
        super().on_epoch_end(epoch, logs)
        self.stopped = self.model.stop_training
        self._growing.on_epoch_end(epoch)

    def forget_weights(self):
        """Drops remembered weights: they are those of another network."""
        for callback in self.callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping):
                callback.best_weights = None


def _is_weighted(data: dict[str, Any]) -> bool:
    """Whether the training images, as `keras.Model.fit` takes them, have weights."""
    if data.get("class_weight") is not None or data.get("sample_weight") is not None:
        return True
    x = data["x"]
    if isinstance(x, keras.utils.PyDataset):
        return len(x[0]) > 2
    return isinstance(spec := getattr(x, "element_spec", None), tuple) and len(spec) > 2


def _copy(history: dict[str, list]) -> dict[str, list[float]]:
    return {name: [float(value) for value in values] for name, values in history.items()}


def _headline(stage: Stage, growth: DepthGrowth) -> str:
    length = stage.end_epoch - stage.first_epoch
    epochs = f"{length} {'epoch' if length == 1 else 'epochs'}"
    what = {
        SETTLE: f"{epochs} for the new block to settle",
        CYCLE: f"a learning-rate cycle of {epochs}",
        PRUNE: f"{epochs} in which channels are removed",
        RECOVER: f"{epochs} for the network without them",
        SHRINK: f"{epochs} at smaller and smaller widths",
    }[stage.phase]
    lines = [""]
    earlier = growth.stages[-2] if len(growth.stages) > 1 else None
    if earlier and earlier.depth < stage.depth:
        verdict = f"ended at {earlier.values[-1]:.4f}"
        if not earlier.complete:
            verdict = f"forecast to end at {earlier.forecasts[-1]:.4f}"
        lines.append(f"== depth {earlier.depth} {verdict}, below the target of {growth.target:.4f}: one block deeper")
    lines.append(f"== depth {stage.depth} of {growth.deepest}: {what}")
    return "\n".join(lines)
