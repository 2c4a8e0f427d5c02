"""How a run trains: learning-rate schedules of the stages, precision and compilation."""

import math
import pathlib

import keras
from keras import ops

WARMUP = 0.1  # of a cycle
FALL_FROM = 0.5  # of a cycle, which is when the rate begins to fall


def one_cycle(peak: float, steps: int, first_step: int = 0) -> keras.optimizers.schedules.LearningRateSchedule:
    """One cycle of the learning rate, from one of its steps on: warm-up, peak and, in the second half, a fall to zero.

    The warm-up takes a tenth of the steps, from 1/25 of the peak; the fall is half a cosine.
    """
    return OneCycle(peak, max(1, steps), first_step)


def sgd(learning_rate, weight_decay: float) -> keras.optimizers.SGD:
    """SGD with Nesterov momentum 0.9.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: decoupled (each step: times the learning rate); 0 for none.
    """
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay or None)


@keras.saving.register_keras_serializable("odn_keras")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """See `one_cycle`."""

    def __init__(self, peak: float, steps: int, first_step: int = 0):
        self._peak, self._steps, self._first_step = peak, steps, first_step

    def __call__(self, step):
        progress = (ops.cast(step, "float32") + self._first_step) / self._steps
        warming = 1 / 25 + (1 - 1 / 25) * ops.minimum(progress / WARMUP, 1.0)
        falling = ops.clip((progress - FALL_FROM) / (1 - FALL_FROM), 0.0, 1.0)
        return self._peak * warming * 0.5 * (1 + ops.cos(math.pi * falling))

    def get_config(self):
        return {"peak": self._peak, "steps": self._steps, "first_step": self._first_step}


@keras.saving.register_keras_serializable("odn_keras")
class ContinuedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule from one of its steps on, times a number."""

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, first_step: int, scale: float = 1.0):
        self._schedule, self._first_step, self._scale = schedule, first_step, scale

    def __call__(self, step):
        return self._schedule(step + self._first_step) * self._scale

    def get_config(self):
        schedule = keras.optimizers.schedules.serialize(self._schedule)
        return {"schedule": schedule, "first_step": self._first_step, "scale": self._scale}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "schedule": keras.optimizers.schedules.deserialize(config["schedule"])})


def precision(wanted: str = "auto") -> str:
    """The Keras dtype policy to train under.

    `"auto"` is bfloat16 on TensorFlow and a CPU that has instructions for it, where it is faster, else
    float32.
    """
    if wanted != "auto":
        return wanted
    return "mixed_bfloat16" if _tensorflow_on_cpu() and _cpu_has_bfloat16() else "float32"


def jit_compile() -> bool | str:
    """Keras's `jit_compile`: its own choice, but none on TensorFlow and a CPU, where XLA slows convolutions down."""
    return False if _tensorflow_on_cpu() else "auto"


def _tensorflow_on_cpu() -> bool:
    return keras.backend.backend() == "tensorflow" and not keras.distribution.list_devices("gpu")


def _cpu_has_bfloat16() -> bool:
    try:
        features = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in features or "amx_bf16" in features
