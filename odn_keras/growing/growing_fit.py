"""Carries out what `DepthGrowth` decides: a growing `fit` is one plain Keras `fit` per stage, resumable at any step."""

import json
import math
import warnings
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import keras

from odn_keras.errors import InputError
from odn_keras.growing import averaging, checks, forecast, growth_plan, schedules
from odn_keras.growing.checkpoint import Checkpoint, Snapshot
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.divergence import RETRY_RATE, TrainingDiverged, loss_limit
from odn_keras.growing.growth_plan import FitConditions
from odn_keras.growing.headline import headline
from odn_keras.growing.network_in_training import NetworkInTraining
from odn_keras.growing.one_training import EpochHistory, OneTraining
from odn_keras.growing.phases import PHASES, PhaseContext
from odn_keras.growing.snapshots import Snapshots, drawn_seed, random_state, restore_random_state
from odn_keras.growing.stage import CYCLE_SHAPE, SHRINK, Stage
from odn_keras.growing.stage_watch import StageOver, StageWatch
from odn_keras.growing.training_data import TrainingData
from odn_keras.networks import builder
from odn_keras.prune import ChannelPruning

# A training is resumed by a search with the same numbers only.
SEARCH_NUMBERS = CYCLE_SHAPE | growth_plan.NUMBERS | forecast.NUMBERS | averaging.NUMBERS | checks.NUMBERS


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a growing fit proceeds.

    Attributes:
        growth: decides.
        checkpoint: where snapshots are written, if anywhere.
        pruning: prunes the depth that is found, if anything does.
        callbacks: the user's others.
        epochs: `initial_epoch` to `epochs` of `keras.Model.fit`.
        verbose: as in `keras.Model.fit`.
        trained_before: whether the user's model has been through such a training already.
        carried: how many of the network's blocks were carried over from another one.
    """

    growth: DepthGrowth
    checkpoint: Checkpoint | None
    pruning: ChannelPruning | None
    callbacks: list[keras.callbacks.Callback]
    epochs: range
    verbose: Any
    trained_before: bool
    carried: int = 0


class GrowingFit:
    """One training through all its stages.

    Args:
        training: the network.
        data: what it is trained and validated on.
        options: how.

    Raises:
        InputError: where the settings of network, data and options do not go together; here or by `run`.
    """

    def __init__(self, training: NetworkInTraining, data: TrainingData, options: FitOptions):
        self._training, self._data, self._options, self._growth = training, data, options, options.growth
        pruning = options.pruning.of_trained() if options.pruning else None
        self._context = PhaseContext(training, pruning, carried=options.carried)
        self._snapshots = Snapshots(options.checkpoint, self._settings())
        self._watch = StageWatch(training, data, self._growth, snapshots=self._snapshots, snapshot=self._take_snapshot)
        self._history = EpochHistory()
        keeps_best = keras.callbacks.LambdaCallback(on_epoch_end=self._keep_best)
        self._listeners = OneTraining(
            self._watch,
            # Before the others, one of which may fail: the best weights must be those of the best depth.
            [self._growth, keeps_best, self._history, *options.callbacks],
            add_progbar=options.verbose != 0,
            verbose=options.verbose,
            epochs=options.epochs.stop,
            steps=data.steps,
            model=training.network,
        )
        training.on_compile.append(lambda training: self._listeners.set_model(training.fitted))

    def run(self) -> keras.callbacks.History:
        """Trains, from the checkpoint if there is one; leaves the network with the weights of the best epoch.

        Raises:
            TrainingDiverged: where the loss explodes or becomes NaN, twice.
        """
        with self._snapshots.deferring_signals():
            first = self._plan_first_stage()
            earlier = self._snapshots.load()
            self._data.start()
            try:
                self._begin(first, earlier)
                self._listeners.begin()
                while (stage := self._present_or_next()) is not None:
                    try:
                        self._train(stage)
                    except TrainingDiverged as error:
                        self._retry(error)
                self._listeners.finish()
            finally:
                self._finish()
            return self._history

    def _plan_first_stage(self) -> Stage:
        """Plans the first stage; where the depth to begin with cannot be pruned as wanted, of a deeper network."""
        growth, training, pruning = self._growth, self._training, self._context.pruning
        depth = training.depth
        conditions = FitConditions(
            depth=depth,
            deepest=training.spec.max_depth,
            first_epoch=self._options.epochs.start,
            epochs=self._options.epochs.stop,
            steps=self._data.steps,
            cost=training.training_macs_at,
            whole_epochs=not self._data.seekable,
            removal=pruning.plan.end if pruning else 0.0,
            carried=self._context.carried > 0,
            check_images=self._watch.check_images,
        )
        first = growth.begin(conditions)
        if pruning:
            depths = pruning.check(training.spec, depth, growth.deepest)
            if len(depths) < growth.deepest - depth + 1:
                listed = ", ".join(map(str, depths))
                warnings.warn(
                    f"the goal of pruning is within reach at depth {listed} only: no other is found", stacklevel=3
                )
            while training.depth < depths[0]:
                training.deepen()
            first = growth.begin(replace(conditions, depth=depths[0], results=depths))
        if training.compilation.optimizer.names_variables and growth.deepest > depth:
            raise InputError(
                "exclude_from_weight_decay names variables of this network, and deeper ones have others: "
                "give it var_names, as ['gamma', 'beta', 'bias']"
            )
        return first

    def _begin(self, first: Stage, earlier: Snapshot | None) -> None:
        """Begins with the first stage, or resumes from an earlier snapshot."""
        if earlier is None:
            self._context.seed = drawn_seed()
            self._enter(first)
            self._snapshots.keep(self._take_snapshot(self._options.epochs.start, 0))
        else:
            self._restore(earlier)
            if self._present_or_next() is None:
                self._say_that_it_is_complete()
                return
        self._watch.guard.limit = loss_limit(
            self._training.fitted,
            self._data.examples(),
            self._training.spec.num_classes,
            self._data.class_weight,
        )

    def _say_that_it_is_complete(self) -> None:
        assert self._options.checkpoint is not None
        folder = self._options.checkpoint.folder
        if self._options.trained_before:
            raise InputError(
                f"the training in {folder} is complete, and so is this model's: to train more, "
                "give Checkpoint another folder"
            )
        warnings.warn(f"the training in {folder} is complete: nothing more is trained", stacklevel=4)

    def _present_or_next(self) -> Stage | None:
        """The stage to train, entered already; `None` at the end of the training."""
        if self._listeners.stopped:
            return None
        if not self._growth.is_over():
            return self._growth.stages[-1]
        following = self._growth.next_stage()
        if following is not None:
            self._enter(following)
        return following

    def _train(self, stage: Stage) -> None:
        """Fits the network to the end of the stage or, of an epoch that has begun already, to the end of that."""
        steps = self._data.steps
        epoch = stage.last_step // steps
        until = epoch + 1 if self._watch.first_step else math.ceil(stage.end_step / steps)
        self._watch.on_epoch_begin(epoch)  # now already, for Keras asks for the number of batches first
        try:
            self._training.fitted.fit(
                **self._data.fit_arguments(), initial_epoch=epoch, epochs=until, callbacks=self._listeners
            )
        except StageOver:
            self._watch.continue_epoch()
            self._listeners.continue_epoch(self._watch.epoch)

    def _retry(self, error: TrainingDiverged) -> None:
        """Returns to the epoch before, with a tenth of the learning rate; raises the error where that was done."""
        if self._growth.rate_scale != 1:
            raise error
        warnings.warn(f"{error}; training continues from the epoch before with a tenth of it", stacklevel=3)
        self._growth.rate_scale = RETRY_RATE
        self._restore(self._snapshots.last)

    def _enter(self, stage: Stage) -> None:
        """Makes the network what a new stage needs."""
        self._watch.start_clock()
        growth, training, before = self._growth, self._training, self._training.network
        growth.stages.append(stage)
        phase = PHASES[stage.phase](stage, self._context)
        phase.enter(self._watch.phase)
        self._watch.phase = phase
        training.raw_weights = None  # where they were not taken, the stage begins with the averaged ones
        if training.network is not before:
            self._listeners.forget_weights()
        self._compile(stage)
        stage.training_macs_per_image = training.training_macs()
        if self._options.verbose if growth.verbose is None else growth.verbose:
            print(headline(growth), flush=True)

    def _compile(self, stage: Stage) -> None:
        """Freezes and compiles the network as the stage wants it."""
        training, phase = self._training, self._watch.phase
        assert phase is not None
        builder.set_frozen(training.network, phase.frozen_blocks)
        length, done = stage.cycle_steps
        phase.begin(length)
        optimizer = training.compilation.optimizer.fresh(
            training.network,
            partial(schedules.one_cycle, steps=length, first_step=done),
            rate_scale=self._growth.rate_scale,
            averaging=averaging.averaging_momentum(length),
            first_step=stage.first_step,
            global_clipnorm=phase.clipnorm,
        )
        training.compile(optimizer)

    def _keep_best(self, epoch: int, logs: dict[str, Any]) -> None:
        if self._growth.improved:
            self._training.keep_as_best()

    def _finish(self) -> None:
        """Ends on the weights of the best epoch, thawed and compiled as the user compiled it."""
        training = self._training
        training.return_to_best()
        if self._watch.phase:
            self._watch.phase.leave()
        training.make_plain()
        builder.set_frozen(training.network, None)
        training.compile(training.compilation.optimizer.fresh(training.network))

    # Snapshots.

    def _take_snapshot(self, epoch: int, step: int) -> Snapshot:
        """What the training is after so many epochs and steps of the next one."""
        assert self._watch.phase is not None
        arrays = self._training.arrays(metrics=step > 0)
        state = {
            "settings": self._snapshots.settings,
            "growth": self._growth.state(),
            "rate_scale": self._growth.rate_scale,
            "history": self._history.state(),
            "stopped": self._listeners.stopped,
            "random": random_state(),
            "seed": self._context.seed,
            "channels": self._training.channels(),
            "pruned": self._watch.phase.state(),
        }
        return Snapshot(epoch, step, state, arrays)

    def _restore(self, snapshot: Snapshot) -> None:
        """Makes everything what it was at the snapshot, but for the learning rate if that was lowered since."""
        growth, training, state, arrays = self._growth, self._training, snapshot.state, snapshot.arrays
        growth.restore(state["growth"])
        growth.rate_scale = min(growth.rate_scale, state["rate_scale"])
        self._context.seed = state["seed"]
        stage = growth.stages[-1]
        training.restore_shape(state["channels"], stage.depth, arrays)
        self._watch.phase = PHASES[stage.phase](stage, self._context)
        self._compile(stage)
        self._watch.phase.restore(state["pruned"])
        best_is_elastic = stage.phase == SHRINK and bool(stage.values)
        training.restore_weights(arrays, growth.best_depth, best_is_elastic=best_is_elastic)
        self._watch.first_step, self._watch.interrupted_metrics = snapshot.step, arrays["metrics"]
        self._history.restore(state["history"], range(self._options.epochs.start, snapshot.epoch))
        self._listeners.stopped = state["stopped"]
        restore_random_state(state["random"])
        self._snapshots.last = snapshot
        self._watch.start_clock()

    def _settings(self) -> dict[str, Any]:
        """What a training must have in common with the one that it resumes, as JSON."""
        compilation, pruning = self._training.compilation, self._context.pruning
        loss = compilation.arguments["loss"]
        settings = {
            **asdict(self._training.spec),
            **asdict(compilation.distillation),
            "taught": compilation.teacher is not None,
            "pruning": pruning and asdict(pruning.plan),
            "carried": self._context.carried,
            **self._growth.settings(),
            **{f"search_{name}": number for name, number in SEARCH_NUMBERS.items()},
            "dtype": self._training.dtype,
            "loss": loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__),
            **compilation.optimizer.settings(),
            "initial_epoch": self._options.epochs.start,
            "epochs": self._options.epochs.stop,
            "steps_per_epoch": self._data.steps,
            "data": self._data.settings(),
        }
        return json.loads(json.dumps(settings, default=str))
