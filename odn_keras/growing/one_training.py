"""Shows the many Keras `fit`s of a growing fit to the callbacks as one training."""

import math
from typing import Any, Protocol

import keras


class StepListener(Protocol):
    """Hears of every step, before or after the callbacks.

    Attributes:
        first_step: steps of the present epoch that were done before the present Keras `fit`.
    """

    first_step: int

    @property
    def epoch_steps(self) -> int:
        """Training steps of an epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Hears, before the callbacks, that an epoch or the rest of one begins."""

    def on_step_begin(self, step: int) -> None:
        """Hears, before the callbacks, that a training step of the epoch begins."""

    def on_step_end(self, step: int, loss: float) -> None:
        """Hears, after the callbacks, that a training step has ended; `loss` is what Keras logs."""

    def on_validation_begin(self) -> None:
        """Hears, before the callbacks, that validation begins."""

    def on_epoch_measured(self, loss: float) -> None:
        """Hears, before the callbacks, the training loss of an epoch whose validation is done."""

    def on_epoch_end(self, epoch: int) -> None:
        """Hears, after the callbacks, that an epoch has ended."""


class EpochHistory(keras.callbacks.History):
    """Has a value of every metric for every epoch: NaN for an exit that the network of that epoch did not have."""

    def __init__(self):
        super().__init__()
        self.epoch = []

    def on_train_begin(self, logs=None):
        """Keeps the epochs from before an interruption."""

    def on_epoch_end(self, epoch, logs=None):
        """Appends the epoch's values, with NaN for a metric that it or the earlier epochs lack."""
        for name in logs:
            self.history.setdefault(name, [math.nan] * len(self.epoch))
        super().on_epoch_end(epoch, {**dict.fromkeys(self.history, math.nan), **logs})

    def state(self) -> dict[str, list[float]]:
        """The values so far, as JSON."""
        return {name: [float(value) for value in values] for name, values in self.history.items()}

    def restore(self, state: dict[str, list[float]], epochs: range) -> None:
        """Returns to a `state` after those epochs."""
        self.epoch = list(epochs)
        self.history = {name: list(values) for name, values in state.items()}


class OneTraining(keras.callbacks.CallbackList):
    """Hands on what Keras calls, but for the ends and beginnings of `fit`s within the training.

    Args:
        listener: hears of every step.
        callbacks: the callbacks.
        **arguments: of `keras.callbacks.CallbackList`.

    Attributes:
        stopped: whether one of the callbacks has stopped the training.
    """

    def __init__(self, listener: StepListener, callbacks: list[keras.callbacks.Callback], **arguments: Any):
        super().__init__(callbacks, **arguments)
        self._listener = listener
        self.stopped = False
        self._begun: int | None = None

    def begin(self):
        """Tells the callbacks that the training begins."""
        super().on_train_begin()

    def finish(self):
        """Tells the callbacks that the training has ended."""
        super().on_train_end()

    def on_train_begin(self, logs=None):
        """Has been called, by `begin`."""

    def on_train_end(self, logs=None):
        """Will be called, by `finish`: another stage may follow."""

    def continue_epoch(self, epoch: int):
        """Expects the rest of an epoch that has begun already, in another stage."""
        self._begun = epoch

    def on_epoch_begin(self, epoch, logs=None):
        """Tells the listener, then the callbacks, unless they know of the epoch by `continue_epoch`."""
        self._listener.on_epoch_begin(epoch)
        begun, self._begun = self._begun, None
        if epoch != begun:
            super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        """Tells the listener, then the callbacks, with the number of the step in the whole epoch."""
        step = batch + self._listener.first_step
        self._listener.on_step_begin(step)
        super().on_train_batch_begin(step, logs)

    def on_train_batch_end(self, batch, logs=None):
        """Tells the callbacks, then the listener, with the number of the step in the whole epoch."""
        step = min(batch + self._listener.first_step, self._listener.epoch_steps - 1)  # the last of several at once
        super().on_train_batch_end(step, logs)
        self._listener.on_step_end(step, (logs or {}).get("loss", 0.0))

    def on_test_begin(self, logs=None):
        """Tells the listener, then the callbacks."""
        self._listener.on_validation_begin()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Tells the listener, before and after the callbacks, and notes whether one of them stopped the training."""
        self._listener.on_epoch_measured((logs or {}).get("loss", 0.0))
        super().on_epoch_end(epoch, logs)
        self.stopped = self.model.stop_training
        self._listener.on_epoch_end(epoch)

    def forget_weights(self):
        """Drops remembered weights: they are those of another network."""
        for callback in self.callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping):
                callback.best_weights = None
