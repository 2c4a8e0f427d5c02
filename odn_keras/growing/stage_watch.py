"""`StageWatch`: what happens between the training steps of a growing fit."""

import time
from collections.abc import Callable

import numpy as np

from odn_keras.growing.checkpoint import Snapshot
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.divergence import DivergenceGuard
from odn_keras.growing.network_in_training import NetworkInTraining
from odn_keras.growing.phases import Phase
from odn_keras.growing.snapshots import Snapshots
from odn_keras.growing.stage import CYCLE
from odn_keras.growing.training_data import TrainingData
from odn_keras.utils import keras_backends
from odn_keras.utils.metric_names import METRIC_NAMES


class StageOver(Exception):
    """Ends the Keras `fit` of a stage in the middle of an epoch."""


class StageWatch:
    """Knows where the training is, measures on the way, and ends a stage, or the training after a signal.

    Args:
        training: the network.
        data: what it is trained on.
        growth: says when a stage is over.
        snapshots: keeps what `snapshot` returns.
        snapshot: takes a snapshot after so many epochs and steps of the next one.

    Attributes:
        guard: notices a divergence.
        phase: of the present stage; `None` before the first.
        epoch: the present epoch, from 0.
        first_step: steps of it that were done before the present Keras `fit`.
        interrupted_metrics: what the metrics had counted in these, unless that has been added again.
    """

    def __init__(
        self,
        training: NetworkInTraining,
        data: TrainingData,
        growth: DepthGrowth,
        *,
        snapshots: Snapshots,
        snapshot: Callable[[int, int], Snapshot],
    ):
        self.guard = DivergenceGuard()
        self.phase: Phase | None = None
        self.epoch = self.first_step = 0
        self.interrupted_metrics: list[np.ndarray] = []
        self._training, self._data, self._growth = training, data, growth
        self._snapshots, self._snapshot = snapshots, snapshot
        self._metric = growth.monitor.removeprefix("val_")
        self._check = data.check if self._metric in METRIC_NAMES else None
        self._steps_done = 0  # of the epoch
        self._clock = 0.0

    @property
    def epoch_steps(self) -> int:
        """Training steps of an epoch."""
        return self._data.steps

    @property
    def check_images(self) -> int | None:
        """Images that a check within an epoch is measured on; `None` where checks are made after epochs, on all."""
        return self._check.count if self._check else None

    def start_clock(self) -> None:
        """Counts the seconds of the present stage from now on."""
        self._clock = time.perf_counter()

    def continue_epoch(self) -> None:
        """Expects the rest of the present epoch in another stage."""
        self.first_step = self._steps_done

    # What `OneTraining` calls.

    def on_epoch_begin(self, epoch: int) -> None:
        """Puts the raw weights back and moves the data to the step at which the epoch starts or resumes."""
        self._training.take_raw_weights()
        self.epoch, self._steps_done = epoch, self.first_step
        self._data.seek(epoch, self.first_step)

    def on_step_begin(self, step: int) -> None:
        """Lets the phase prepare the step."""
        assert self.phase is not None
        self.phase.before_step(step)

    def on_step_end(self, step: int, loss: float) -> None:
        """Does, after a training step or several at once, what cannot wait for the end of the epoch."""
        assert self.phase is not None
        stage = self._growth.stages[-1]
        before, self._steps_done = self._steps_done, step + 1
        self._data.trained(self._steps_done - before)
        if not stage.setup_seconds:
            stage.setup_seconds = time.perf_counter() - self._clock
        if self.interrupted_metrics:
            self._training.add_to_metrics(self.interrupted_metrics)
            self.interrupted_metrics = []
        self.phase.after_step(self._step_of_run - stage.first_step)
        stop = self._snapshots.stop_requested
        if stop or self.guard.is_due(before, self._steps_done):
            self._check_loss(loss)  # before a stop as well: what is not sound must not be kept
        if self._steps_done < self.epoch_steps:
            self._decide_within_epoch(self._step_of_run - self._steps_done + before, loss)
        if stop:
            self._stop()

    def on_validation_begin(self) -> None:
        """Puts the averaged weights in, which stay until the next epoch begins: what is validated is what is kept."""
        if not self._training.fitted.stop_training:
            self._data.check_length(self._steps_done)
        self._take_averages()
        if self._check and self._growth.stages[-1].phase == CYCLE:
            # Even on all validation images: the metric may be one of the user's own, and differ from the checks.
            self._growth.add_check(self._step_of_run, self._check.score(self._training.network, self._metric))

    def on_epoch_measured(self, loss: float) -> None:
        """Raises `TrainingDiverged` where the loss shows it."""
        self._check_loss(loss)

    def on_epoch_end(self, epoch: int) -> None:
        """Counts the time, keeps a snapshot, and stops the training after a signal or where the growth is over."""
        self._count_seconds()
        self.first_step = 0
        self._snapshots.keep(self._snapshot(epoch + 1, 0))
        if self._snapshots.stop_requested:
            self._snapshots.stop()
        if self._growth.is_over():
            self._training.fitted.stop_training = True

    # Of these.

    @property
    def _step_of_run(self) -> int:
        """Training steps of the run that are done."""
        return self.epoch * self.epoch_steps + self._steps_done

    def _decide_within_epoch(self, before: int, loss: float) -> None:
        """Ends the stage where the accuracy says so, or at its planned end; `before` was the last step seen."""
        growth, stage, step = self._growth, self._growth.stages[-1], self._step_of_run
        if self._check and growth.wants_check(before, step):
            self._check_loss(loss)
            keras_backends.sync_variables(self._training.fitted)
            self._take_averages()
            growth.add_check(step, self._check.score(self._training.network, self._metric))
            if not growth.is_over():
                self._training.take_raw_weights()
                return
        elif step < stage.end_step:
            return
        stage.steps = step - stage.first_step
        self._count_seconds()
        keras_backends.sync_variables(self._training.fitted)
        raise StageOver

    def _stop(self) -> None:
        """Ends the training after a signal; without seekable data, or after the last step, the epoch's end does."""
        within = self._steps_done < self.epoch_steps
        if self._data.seekable and within:
            self._snapshots.write(self._snapshot(self.epoch, self._steps_done))
        if within or not self._data.seekable:
            self._snapshots.stop()

    def _take_averages(self) -> None:
        assert self.phase is not None
        self._training.take_averages(self._data.images(), self.phase.hold)

    def _check_loss(self, loss: float) -> None:
        depth = self._growth.stages[-1].depth
        self.guard.check(self._training.fitted, loss, epoch=self.epoch, depth=depth)

    def _count_seconds(self) -> None:
        stage, now = self._growth.stages[-1], time.perf_counter()
        stage.seconds, self._clock = stage.seconds + now - self._clock, now
