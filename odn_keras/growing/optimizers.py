"""The optimizer of a run, and fresh copies of any optimizer for the stages of a growing fit.

What a copy would lose is refused before training.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from odn_keras.errors import InputError
from odn_keras.growing.schedules import ContinuedSchedule

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")  # Keras's options, of which one may be given
NEEDED = ("learning_rate", "use_ema", *CLIPPING)  # in the configuration of an optimizer that stages can use
EXCLUDED = "_exclude_from_weight_decay"  # where Keras keeps what `exclude_from_weight_decay` was given
EXCLUDED_NAMES = "_exclude_from_weight_decay_pattern"


def sgd(learning_rate, weight_decay: float) -> keras.optimizers.SGD:
    """SGD with Nesterov momentum 0.9.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: decoupled (each step: times the learning rate); 0 for none.
    """
    return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=weight_decay or None)


class OptimizerTemplate:
    """Makes copies of an optimizer without its state.

    Their `iterations` are 0; averages and Adam's corrections count on it.

    Args:
        optimizer: the user's, left unchanged; in a `LossScaleOptimizer` or not.
        network: the one it was compiled with.

    Raises:
        InputError: for a setting that a copy made from its `get_config` would not have.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, network: keras.Model):
        self._scaling = optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else None
        self._optimizer = optimizer.inner_optimizer if self._scaling else optimizer
        self._kind = type(self._optimizer).__name__
        config = self._config()
        if missing := [name for name in NEEDED if name not in config]:
            raise InputError(
                f"{self._kind} cannot be copied for the stages of a growing fit: its get_config has no {missing[0]}"
            )
        rate = self._optimizer._learning_rate
        if callable(rate) and not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            raise InputError(
                "a function as learning rate cannot continue through the stages: give a LearningRateSchedule"
            )
        for each in filter(None, (self._optimizer, self._scaling)):
            copy = self._copy(self._config()) if each is self._optimizer else self._scaled(self._copy(self._config()))
            if lost := _lost_settings(each, copy):
                raise InputError(
                    f"{type(each).__name__}.{lost} = {getattr(each, lost)!r} is not in its get_config: "
                    "the stages of a growing fit would lose it"
                )
        self._excluded_paths = _excluded_paths(self._optimizer, network)
        pattern = getattr(self._optimizer, EXCLUDED_NAMES, None)
        self._excluded_names = pattern.pattern if pattern else None

    @property
    def names_variables(self) -> bool:
        """Whether single variables are excluded from weight decay, which deeper networks do not have."""
        return bool(self._excluded_paths)

    @property
    def peak(self) -> float | None:
        """The constant learning rate; `None` for a schedule."""
        rate = self._config()["learning_rate"]
        return None if isinstance(rate, dict) else float(rate)

    def fresh(
        self,
        network: keras.Model,
        schedule: Callable | None = None,
        *,
        rate_scale: float = 1.0,
        averaging: float | None = None,
        first_step: int = 0,
        global_clipnorm: float | None = None,
    ) -> keras.optimizers.Optimizer:
        """A copy, built for the network's trainable variables.

        Args:
            network: what it will train.
            schedule: peak learning rate -> schedule, which replaces a constant learning rate.
            rate_scale: what the learning rate is multiplied by, whoever chose it.
            averaging: momentum of a moving average of the weights, unless the template keeps one already.
            first_step: of the training, at which the template's own schedule continues.
            global_clipnorm: largest norm of all gradients together, unless the template clips them already.
        """
        config = self._config()
        if global_clipnorm is not None and not any(config[name] for name in CLIPPING):
            config["global_clipnorm"] = global_clipnorm
        if averaging is not None and not config["use_ema"]:
            config.update(use_ema=True, ema_momentum=averaging, ema_overwrite_frequency=None)
        peak = self.peak
        if peak is not None:
            config["learning_rate"] = schedule(peak * rate_scale) if schedule else peak * rate_scale
        elif first_step or rate_scale != 1:
            own = keras.optimizers.schedules.deserialize(config["learning_rate"])
            config["learning_rate"] = ContinuedSchedule(own, first_step, rate_scale)
        copy = self._copy(config)
        if self._excluded_names or self._excluded_paths:
            copy.exclude_from_weight_decay(
                var_list=[variable for variable in network.variables if variable.path in self._excluded_paths],
                var_names=[self._excluded_names] if self._excluded_names else None,
            )
        copy = self._scaled(copy) if self._scaling else copy
        copy.build(network.trainable_variables)
        return copy

    def settings(self) -> dict[str, Any]:
        """What it is: a training can be resumed only with the same."""
        config = self._config()
        del config["name"]  # numbered through
        settings = {"optimizer": self._kind, **config}
        if self._scaling:
            settings["initial_scale"] = self._scaling.initial_scale
            settings["dynamic_growth_steps"] = self._scaling.dynamic_growth_steps
        if self._excluded_names or self._excluded_paths:
            settings["excluded_from_weight_decay"] = [self._excluded_names, sorted(self._excluded_paths)]
        return settings

    def _config(self) -> dict[str, Any]:
        return self._optimizer.get_config()

    def _copy(self, config: dict[str, Any]) -> keras.optimizers.Optimizer:
        try:
            return type(self._optimizer).from_config(config)
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{self._kind} cannot be copied from its get_config, as a growing fit must: {reason}"
            ) from error

    def _scaled(self, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        assert self._scaling is not None
        own = {name: value for name, value in self._scaling.get_config().items() if name != "inner_optimizer"}
        return type(self._scaling)(optimizer, **own)


def _excluded_paths(optimizer: keras.optimizers.Optimizer, network: keras.Model) -> set[str]:
    """The paths of the variables that `exclude_from_weight_decay(var_list=...)` was given."""
    excluded = set(getattr(optimizer, EXCLUDED, ()))
    paths = {variable.path for variable in network.variables if optimizer._var_key(variable) in excluded}
    if len(paths) < len(excluded):
        raise InputError(
            f"exclude_from_weight_decay names {len(excluded) - len(paths)} variables that the network does not have: "
            "give it this network's, or var_names"
        )
    return paths


def _lost_settings(optimizer: keras.optimizers.Optimizer, copy: keras.optimizers.Optimizer) -> str | None:
    """The first attribute that was set on the optimizer and that its copy does not have."""
    keras_own = {name for name in vars(keras.optimizers.SGD()) if name.startswith("_")}
    for name, value in vars(optimizer).items():
        state = optimizer.built and not hasattr(copy, name)  # made when it was built
        if name in ("name", "built", "inner_optimizer") or name in keras_own or name.startswith(EXCLUDED) or state:
            continue
        if not hasattr(copy, name) or not _same(value, getattr(copy, name)):
            return name
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two attributes are equal; objects that cannot be compared, and variables, count as equal."""
    if any(isinstance(part, keras.Variable) for part in keras.tree.flatten((one, other))):
        return True
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    comparable = (bool, int, float, str, bytes, type(None), list, tuple, dict, set, np.generic)
    if isinstance(one, comparable) or isinstance(other, comparable):
        return bool(one == other)
    return type(one) is type(other) and getattr(one, "__code__", None) is getattr(other, "__code__", None)
