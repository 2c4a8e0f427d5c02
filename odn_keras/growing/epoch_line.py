"""What is printed after every epoch: its metrics, where the cycle is forecast to end, and how long the rest takes."""

import time
from typing import Any

import keras

from odn_keras.growing.depth_growth import DepthGrowth


class EpochLine(keras.callbacks.Callback):
    """Prints a line after every epoch.

    Args:
        growth: of the same fit.
        whole: True for everything in one line, as in a log; False for what Keras's progress bar does not say.
    """

    def __init__(self, growth: DepthGrowth, *, whole: bool):
        super().__init__()
        self._growth, self._whole = growth, whole
        self._epoch, self._epoch_began = 0, 0.0
        self._stage, self._first_step, self._began = -1, 0, 0.0  # number of the stage; from where its steps are timed

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the epoch."""
        self._epoch, self._epoch_began = epoch, time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Starts the clock of a stage after its first step, which traces and compiles."""
        number = len(self._growth.stages)
        if number != self._stage:
            step = self._epoch * self._growth.stages[-1].epoch_steps + batch + 1
            self._stage, self._first_step, self._began = number, step, time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Prints the line."""
        now, stage = time.perf_counter(), self._growth.stages[-1]
        timed = stage.last_step - self._first_step
        enough = timed > 0 and timed >= stage.epoch_steps / 4  # the validation's time is spread over them
        per_step = (now - self._began) / timed if enough else None
        parts = [*self._forecast(), *self._time_left(per_step)]
        if self._whole:
            place = f"epoch {epoch + 1}/{self.params['epochs']}, depth {stage.depth}"
            parts = [f"{place}, {duration(now - self._epoch_began)}: {_metrics(logs or {})}", *parts]
        if parts:
            print("; ".join(parts), flush=True)

    def _forecast(self) -> list[str]:
        forecast = self._growth.stages[-1].forecasts[-1]
        if forecast is None:
            return []
        target = "" if self._growth.target is None else f" (target {self._growth.target:.4f})"
        return [f"forecast {forecast:.4f}{target}"]

    def _time_left(self, per_step: float | None) -> list[str]:
        """Of the cycle and, at most, of the run; nothing where the stage is over or has only begun."""
        if per_step is None or self._growth.is_over():
            return []
        plan, stages = self._growth.plan, self._growth.stages
        cycle = per_step * (stages[-1].end_step - stages[-1].last_step)
        run = per_step * plan.most_steps_left(stages) * plan.dearest_ahead(stages)
        most = "" if run <= cycle else f", of the run at most about {duration(run)}"
        return [f"left of this cycle {duration(cycle)}{most}"]


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(4.31), duration(75), duration(3 * 3600 + 125)
    ('4.3 s', '1 min 15 s', '3 h 2 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _metrics(logs: dict[str, Any]) -> str:
    return ", ".join(f"{name} {float(value):.4f}" for name, value in logs.items())
