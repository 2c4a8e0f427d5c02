"""Carries out what `DepthGrowth` decides: a growing `fit` is one plain Keras `fit` per stage, resumable at any step."""

import json
import math
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.errors import InputError
from odn_keras.growing import averaging, distribution, schedules
from odn_keras.growing.checkpoint import Checkpoint, Snapshot
from odn_keras.growing.checks import AccuracyCheck
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.distillation import Distillation, trained_model
from odn_keras.growing.divergence import loss_limit
from odn_keras.growing.growth_plan import FitConditions
from odn_keras.growing.optimizers import OptimizerTemplate
from odn_keras.growing.replay import Replay
from odn_keras.growing.stage import CYCLE, PRUNE, RECOVER, SETTLE, SHRINK, Stage
from odn_keras.networks import builder, cost, elastic, extraction
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.prune import ChannelPruning
from odn_keras.prune.pruner import Pruner
from odn_keras.prune.surgery import compact, removable
from odn_keras.utils import keras_backends

RETRY_RATE = 0.1
SHRINK_CLIPNORM = 1.0  # of all gradients: those of the narrowest networks are so large that they undo what was learned
LOSS_CHECKED_EVERY = 100  # steps: to read the loss is to wait for the device


class TrainingDiverged(InputError):
    """The loss exploded or became NaN; the network holds the best weights from before that."""


class _StageOver(Exception):
    """Ends the `fit` of a stage in the middle of an epoch."""


class GrowingFit:
    """One training through all its stages.

    Args:
        network: to start with; replaced as the training goes deeper.
        spec: what it was built from.
        compile_arguments: of `keras.Model.compile`, for every stage, but for the optimizer.
        optimizer: of which each stage gets a copy.
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
        trained_before: whether the user's model has been through such a training already.
        changed: called with the network, what Keras fits, and the spec, whenever they are others.

    Attributes:
        network: the present network.
        spec: what it is built from; after pruning, that of the compact network.
        fitted: what Keras fits: the network, or a `Distiller` around it.
        first_step: steps of the present epoch that were done before an interruption.
        steps: training steps of an epoch.
    """

    def __init__(
        self,
        *,
        network: keras.Model,
        spec: NetworkSpec,
        compile_arguments: dict[str, Any],
        optimizer: keras.optimizers.Optimizer,
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
        pruning: ChannelPruning | None,
        trained_before: bool,
        changed: Callable[[keras.Model, keras.Model, NetworkSpec], None],
    ):
        self.network, self.spec, self.fitted = network, builder.spec_of(network, spec), network
        self._pruning = pruning.of_trained() if pruning else None
        self._pruner: Pruner | None = None  # in its stage
        self._teacher, self._distillation = teacher, distillation
        self._found: keras.Model | None = None  # teaches while widths shrink
        self._best_weights: list[np.ndarray] | None = None
        self._compile_arguments, self._template = compile_arguments, OptimizerTemplate(optimizer, network)
        self._growth, self._checkpoint = growth, checkpoint
        self._data, self.steps = dict(data), steps
        whole_epochs = data.get("steps_per_epoch") is None
        self._seek = getattr(data["x"], "seek", None) if whole_epochs else None
        if self._seek:  # it shuffles itself, by seed and epoch; Keras would shuffle its batches otherwise
            self._data["shuffle"] = False
        self._initial_epoch, self._epochs, self._verbose = initial_epoch, epochs, verbose
        self._check = AccuracyCheck.on_some_of(data["validation_data"]) if self._seek else None
        if growth.monitor != "val_accuracy":
            self._check = None
        self._trained_before, self._changed = trained_before, changed
        self._settings = self._describe()
        self._replay: Replay | None = None  # of data that can be read only once
        self._loss_limit = math.inf
        self._costs: dict[int, float] = {}
        self._seed = 0  # of the widths while they shrink
        self.first_step = self._steps_done = 0
        self._interrupted_metrics: list[np.ndarray] = []
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
        first = self._begin()
        earlier = self._checkpoint.load() if self._checkpoint else None
        if hasattr(self._data["x"], "__next__"):
            self._replay = Replay(self._data["x"], averaging.RECALIBRATION_BATCHES)
        try:
            if self._checkpoint and earlier:
                self._check_settings(earlier, self._checkpoint)
                self._restore(earlier)
            else:
                self._seed = _drawn_seed()
                self._enter_new(first)
                self._keep(self._snapshot(self._initial_epoch))
            stage = self._present_or_next()
            if earlier and stage is None:
                self._say_that_it_is_complete()
            else:
                self._loss_limit = self._measure_loss_limit()
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

    def _begin(self) -> Stage:
        """Plans the first stage; where the depth to begin with cannot be pruned as wanted, of a deeper network."""
        growth, depth = self._growth, builder.depth_of(self.network)
        conditions = FitConditions(
            depth=depth,
            deepest=self.spec.max_depth,
            first_epoch=self._initial_epoch,
            epochs=self._epochs,
            steps=self.steps,
            cost=self._cost_at,
            whole_epochs=self._seek is None,
            removal=self._pruning.plan.end if self._pruning else 0.0,
        )
        first = growth.begin(conditions)
        if self._pruning:
            depths = self._pruning.check(self.spec, depth, growth.deepest)
            if len(depths) < growth.deepest - depth + 1:
                listed = ", ".join(map(str, depths))
                warnings.warn(
                    f"the goal of pruning is within reach at depth {listed} only: no other is found", stacklevel=2
                )
            while builder.depth_of(self.network) < depths[0]:
                self.network, _ = builder.deepen(self.network, self.spec, freeze_prefix=False)
            first = growth.begin(replace(conditions, depth=depths[0], results=depths))
        if self._template.names_variables and growth.deepest > depth:
            raise InputError(
                "exclude_from_weight_decay names variables of this network, and deeper ones have others: "
                "give it var_names, as ['gamma', 'beta', 'bias']"
            )
        return first

    def _cost_at(self, depth: int) -> float:
        """Multiply-accumulates of a training step on one image at a depth."""
        if depth not in self._costs:
            drawn = random.getstate()
            network = builder.build(self.spec, depth, self._dtype())
            random.setstate(drawn)  # what is only measured must not change what is drawn after it
            self._costs[depth] = cost.training_macs(network) + (cost.macs(self._teacher) if self._teacher else 0)
        return self._costs[depth]

    def _say_that_it_is_complete(self) -> None:
        assert self._checkpoint is not None
        if self._trained_before:
            raise InputError(
                f"the training in {self._checkpoint.folder} is complete, and so is this model's: to train more, "
                "give Checkpoint another folder"
            )
        warnings.warn(f"the training in {self._checkpoint.folder} is complete: nothing more is trained", stacklevel=2)

    def _measure_loss_limit(self) -> float:
        data = self._data
        labels = {"y": data["y"], "sample_weight": data.get("sample_weight")}
        examples = averaging.some_examples(
            self._readable_twice(), data["batch_size"], data["validation_split"], **labels
        )
        return loss_limit(self.fitted, examples, self.spec.num_classes, data.get("class_weight"))

    def _readable_twice(self):
        return self._replay.first if self._replay else self._data["x"]

    def _present_or_next(self) -> Stage | None:
        """The stage to go on with; `None` at the end of the training."""
        if self._listeners.stopped:
            return None
        stage = self._growth.stages[-1]
        if not self._growth.is_over():
            return stage
        following = self._growth.next_stage()
        if following is not None:
            self._enter_new(following)
        return following

    def _train(self, stage: Stage) -> None:
        epoch = stage.last_step // self.steps
        # What is left of an epoch that was interrupted is its own fit.
        until = epoch + 1 if self.first_step else math.ceil(stage.end_step / self.steps)
        self.on_epoch_begin(epoch)  # now already, for Keras asks for the number of batches first
        data = {**self._data, "x": self._replay.reader()} if self._replay else self._data
        try:
            self.fitted.fit(**data, initial_epoch=epoch, epochs=until, callbacks=self._listeners)
        except _StageOver:
            self.first_step = self._steps_done
            self._listeners.go_on_with(epoch=self._epoch)

    # What the listeners call.

    def on_epoch_begin(self, epoch: int) -> None:
        if self._trained_weights is not None:
            self.network.set_weights(self._trained_weights)
            self._trained_weights = None
        self._epoch, self._steps_done = epoch, self.first_step
        if self._seek:
            self._seek(epoch, self.first_step)

    def on_step_begin(self, step: int) -> None:
        """Draws the widths that the step trains, if they shrink; by seed, epoch and step: so a run can be resumed."""
        stage = self._growth.stages[-1]
        if stage.phase != SHRINK:
            return
        keras_backends.sync_variables(self.fitted)
        first, last = stage.first_step // self.steps, stage.end_step // self.steps
        epoch = stage.last_step // self.steps
        smallest = list(elastic.shrinking(last - first))[epoch - first]
        drawing = np.random.default_rng([self._seed, epoch, step])
        elastic.draw_widths(self.network, smallest, drawing)

    def on_validation_begin(self) -> None:
        """Puts the averaged weights in, which stay until the next epoch begins: what is judged is what is kept."""
        network = self.network
        if self._replay and self._steps_done < self.steps and not self.fitted.stop_training:
            raise InputError(
                f"the training data ended after {self._steps_done} of the {self.steps} steps of an epoch: "
                "give fit an iterator that goes on, or fewer epochs"
            )
        self._trained_weights = self._put_averages_in()
        if self._check and self._growth.stages[-1].phase == CYCLE:
            self._growth.add_check(self._step_of_run(), self._check.accuracy(network))

    def _put_averages_in(self) -> list[np.ndarray]:
        """Makes the network's weights the averaged ones, with statistics of their own; the weights it had."""
        network = self.network
        elastic.widen(network)
        trained = network.get_weights()
        keras_backends.use_averaged_weights(network, self.fitted.optimizer)
        if self._pruner:
            self._pruner.hold()
        data = self._data
        images = averaging.some_batches(self._readable_twice(), data["batch_size"], data["validation_split"])
        averaging.recalibrate(network, images)
        return trained

    def _step_of_run(self) -> int:
        """Training steps of the run that are done."""
        return self._epoch * self.steps + self._steps_done

    def on_step_end(self, step: int, loss: float) -> None:
        """Looks, after a training step or several at once, at what cannot wait for the end of the epoch."""
        stage, epoch = self._growth.stages[-1], self._epoch
        before, self._steps_done = self._steps_done, step + 1
        if self._replay:
            self._replay.trained(self._steps_done - before)
        if not stage.setup_seconds:
            stage.setup_seconds = time.perf_counter() - self._clock
        if self._interrupted_metrics:
            self._add_interrupted_metrics()
        done = self._step_of_run() - stage.first_step
        if self._pruner and self._pruner.due(done - 1):
            keras_backends.sync_variables(self.fitted)
            self._pruner.after_step(done - 1)
        stop = self._checkpoint is not None and self._checkpoint.stop_requested
        if stop or self._steps_done // LOSS_CHECKED_EVERY > before // LOSS_CHECKED_EVERY:
            self.check_loss(epoch, loss)  # before a stop as well: what is not sound must not be kept
        if self._steps_done < self.steps:
            self._decide_within_epoch(stage, self._step_of_run() - self._steps_done + before, loss)
        if self._checkpoint and stop:
            if self._seek and step + 1 < self.steps:
                self._checkpoint.save(self._snapshot(epoch, step + 1))
            if not self._seek or step + 1 < self.steps:
                self._checkpoint.stop()

    def _decide_within_epoch(self, stage: Stage, before: int, loss: float) -> None:
        """Ends the stage where the accuracy says so, or at its planned end; `before` was the last step seen."""
        growth, step = self._growth, self._step_of_run()
        if self._check and growth.wants_check(before, step):
            self.check_loss(self._epoch, loss)
            keras_backends.sync_variables(self.fitted)
            trained = self._put_averages_in()
            growth.add_check(step, self._check.accuracy(self.network))
            if not growth.is_over():
                self.network.set_weights(trained)
                return
            self._trained_weights = trained
        elif step < stage.end_step:
            return
        stage.steps = step - stage.first_step
        self._count_seconds(stage)
        keras_backends.sync_variables(self.fitted)
        raise _StageOver

    def check_loss(self, epoch: int, loss: float) -> None:
        """Raises `TrainingDiverged` for a training loss that a healthy training does not have."""
        loss = float(loss)
        if not math.isfinite(loss) or loss > self._loss_limit * getattr(self.fitted, "loss_scale", 1):
            raise TrainingDiverged(
                f"the loss became {loss:.4g} in epoch {epoch + 1} (depth {self._growth.stages[-1].depth}): "
                "lower the learning rate"
            )

    def on_epoch_end(self, epoch: int) -> None:
        stage = self._growth.stages[-1]
        self._count_seconds(stage)
        self.first_step = 0
        self._keep(self._snapshot(epoch + 1))
        if self._checkpoint and self._checkpoint.stop_requested:
            self._checkpoint.stop()
        if self._growth.is_over():
            self.fitted.stop_training = True

    def _count_seconds(self, stage: Stage) -> None:
        now = time.perf_counter()
        stage.seconds, self._clock = stage.seconds + now - self._clock, now

    def _keep_best(self, epoch: int, logs: dict[str, Any]) -> None:
        if self._growth.improved:
            self._best_weights = self.network.get_weights()

    # Stages.

    def _enter_new(self, stage: Stage) -> None:
        """Makes the network what a new stage needs: deeper, or elastic, frozen, compiled."""
        self._clock = time.perf_counter()
        growth, before = self._growth, self.network
        growth.stages.append(stage)
        if self._trained_weights is not None and stage.depth > builder.depth_of(before):
            before.set_weights(self._trained_weights)  # with a high rate still before it, it learns better from these
        self._trained_weights = None  # else it goes on from the averaged ones
        longer = len(growth.stages) > 1 and stage.phase == growth.stages[-2].phase == CYCLE
        if stage.phase in (PRUNE, RECOVER, SHRINK) or (longer and stage.depth <= builder.depth_of(before)):
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
        extraction.sort_channels(self.network, self.spec)
        self._found = builder.at_exit(self.network, self.spec, depth)
        found = self.network
        self.network = builder.build(self.spec, depth, self._dtype(), elastic=True)
        builder.transfer_weights(found, self.network)

    def _prepare(self, stage: Stage) -> None:
        """Freezes and compiles the network as the stage wants it."""
        builder.set_frozen(self.network, stage.depth - 1 if stage.phase == SETTLE else None)
        length, done = stage.cycle_steps
        self._pruner = None
        if stage.phase == PRUNE and self._pruning:
            self._pruner = self._pruning.pruner(self.network, length)
        self._compile(
            self._template.fresh(
                self.network,
                partial(schedules.one_cycle, steps=length, first_step=done),
                rate_scale=self._growth.rate_scale,
                averaging=averaging.averaging_momentum(length),
                first_step=stage.first_step,
                global_clipnorm=SHRINK_CLIPNORM if stage.phase == SHRINK else None,
            )
        )

    def _settle(self) -> None:
        """Ends on the weights of the best epoch, thawed and compiled as the user compiled it."""
        growth = self._growth
        if self._best_weights is not None:
            shrunk = growth.stages[-1].phase == SHRINK and bool(growth.stages[-1].values)
            self._rebuild(growth.best_depth, elastic_width=shrunk)
            self.network.set_weights(self._best_weights)
        self._compact()
        if elastic.elastic_layers(self.network):
            trained = self.network
            self._rebuild(builder.depth_of(trained))
            builder.transfer_weights(trained, self.network)
        builder.set_frozen(self.network, None)
        self._found = None
        self._compile(self._template.fresh(self.network))

    def _compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        self.fitted = trained_model(self.network, self._teacher or self._found, self._distillation)
        self.fitted.compile(**{**self._compile_arguments, "optimizer": optimizer})
        self._listeners.set_model(self.fitted)
        self._changed(self.network, self.fitted, self.spec)

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
        keras_backends.sync_variables(self.fitted)
        fitted = self.fitted
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
                "seed": self._seed,
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
        self.first_step, self._interrupted_metrics = snapshot.step, snapshot.arrays["metrics"]
        self._history.epoch = list(range(self._initial_epoch, snapshot.epoch))
        self._history.history = _copy(state["history"])
        self._listeners.stopped = state["stopped"]
        self._seed = state["seed"]
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))
        self._last = snapshot
        self._clock = time.perf_counter()

    def _add_interrupted_metrics(self) -> None:
        """Adds what the metrics had counted before the interruption: all of Keras's are sums."""
        keras_backends.sync_variables(self.fitted)
        for variable, value in zip(self.fitted.metrics_variables, self._interrupted_metrics, strict=True):
            variable.assign(variable + value)
        self._interrupted_metrics = []

    def _describe(self) -> dict[str, Any]:
        """What a training must have in common with the one it goes on with, as JSON."""
        loss = self._compile_arguments["loss"]
        settings = {
            **asdict(self.spec),
            **asdict(self._distillation),
            "taught": self._teacher is not None,
            "pruning": self._pruning and asdict(self._pruning.plan),
            **self._growth.settings(),
            "dtype": self._dtype(),
            "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
            **self._template.settings(),
            "initial_epoch": self._initial_epoch,
            "epochs": self._epochs,
            "steps_per_epoch": self.steps,
            "data": data.settings() if isinstance(data := self._data["x"], Batches) else None,
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
        self._begun: int | None = None

    def begin(self):
        super().on_train_begin()

    def finish(self):
        super().on_train_end()

    def on_train_begin(self, logs=None):
        """Has been called, by `begin`."""

    def on_train_end(self, logs=None):
        """Will be called, by `finish`: another stage may follow."""

    def go_on_with(self, epoch: int):
        """Expects the rest of an epoch that has begun already, in another stage."""
        self._begun = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self._growing.on_epoch_begin(epoch)
        begun, self._begun = self._begun, None
        if epoch != begun:
            super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._growing.on_step_begin(batch + self._growing.first_step)
        super().on_train_batch_begin(batch + self._growing.first_step, logs)

    def on_train_batch_end(self, batch, logs=None):
        step = min(batch + self._growing.first_step, self._growing.steps - 1)  # the last of several at once
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


def _drawn_seed() -> int:
    """A number by the seed of Python's `random`, from which later draws are the same; the same in all processes."""

    def drawn() -> bytes:
        state = random.getstate()
        number = random.getrandbits(32)
        random.setstate(state)
        return number.to_bytes(4)

    return int.from_bytes(distribution.from_chief(drawn))


def _copy(history: dict[str, list]) -> dict[str, list[float]]:
    return {name: [float(value) for value in values] for name, values in history.items()}


def _headline(stage: Stage, growth: DepthGrowth) -> str:
    length = (stage.end_step - stage.first_step) / stage.epoch_steps
    epochs = f"{length:.3g} {'epoch' if length == 1 else 'epochs'}"
    rest = "the rest of the learning-rate cycle," if stage.progress else "a learning-rate cycle of"
    what = {
        SETTLE: f"{epochs} for the new block to settle",
        CYCLE: f"{rest} {epochs}",
        PRUNE: f"{epochs} in which channels are removed",
        RECOVER: f"{epochs} for the network without them",
        SHRINK: f"{epochs} at smaller and smaller widths",
    }[stage.phase]
    lines = [""]
    earlier = growth.stages[-2] if len(growth.stages) > 1 else None
    if earlier and stage.phase in (SETTLE, CYCLE) and earlier.phase == CYCLE:
        verdict = (
            f"ended at {earlier.best:.4f}" if earlier.complete else f"forecast to end at {growth.forecast(earlier):.4f}"
        )
        then = "one block deeper" if earlier.depth < stage.depth else "trained on"
        lines.append(f"== depth {earlier.depth} {verdict}, below the target of {growth.target:.4f}: {then}")
    lines.append(f"== depth {stage.depth} of {growth.deepest}: {what}")
    return "\n".join(lines)
