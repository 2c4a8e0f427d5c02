"""Learning-rate schedules: one cycle, and any schedule continued from one of its steps."""

import math

import keras
from keras import ops

from odn_keras.growing.stage import FALL_FROM, warmup


def one_cycle(peak: float, steps: int, first_step: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    """One cycle of the learning rate, from one of its steps on: warm-up, peak and, in the second half, a fall to zero.

    The warm-up takes a tenth of the steps, at most 300, from 1/25 of the peak; the fall is half a cosine.
    """
    return OneCycle(peak, max(1, steps), first_step)


@keras.saving.register_keras_serializable("odn_keras")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """See `one_cycle`."""

    def __init__(self, peak: float, steps: int, first_step: int = 0):
        self._peak, self._steps, self._first_step = peak, steps, first_step

    def __call__(self, step):
        """The learning rate of a step."""
        progress = (ops.cast(step, "float32") + self._first_step) / self._steps
        warming = 1 / 25 + (1 - 1 / 25) * ops.minimum(progress / warmup(self._steps), 1.0)
        falling = ops.clip((progress - FALL_FROM) / (1 - FALL_FROM), 0.0, 1.0)
        return self._peak * warming * 0.5 * (1 + ops.cos(math.pi * falling))

    def get_config(self):
        """The constructor's arguments."""
        return {"peak": self._peak, "steps": self._steps, "first_step": self._first_step}


@keras.saving.register_keras_serializable("odn_keras")
class ContinuedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule from one of its steps on, times a number."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, first_step: int, scale: float = 1.0):
        self._schedule, self._first_step, self._scale = schedule, first_step, scale

    def __call__(self, step):
        """The learning rate of a step."""
        return self._schedule(step + self._first_step) * self._scale

    def get_config(self):
        """The constructor's arguments, the schedule as Keras serializes it."""
        schedule = keras.optimizers.schedules.serialize(self._schedule)
        return {"schedule": schedule, "first_step": self._first_step, "scale": self._scale}

    @classmethod
    def from_config(cls, config):
        """Makes a schedule of what `get_config` returns."""
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})
