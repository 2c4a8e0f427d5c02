"""`NetworkInTraining`: the network of a growing fit, as it is deepened, pruned, narrowed and compiled."""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from odn_keras.growing import averaging
from odn_keras.growing.distillation import Distillation, trained_model
from odn_keras.growing.optimizers import OptimizerTemplate
from odn_keras.networks import builder, cost, elastic, extraction
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.prune.surgery import compact, removable
from odn_keras.utils import keras_backends


@dataclass(frozen=True)
class Compilation:
    """What the network of every stage is compiled with.

    Attributes:
        arguments: of `keras.Model.compile`, without the optimizer.
        optimizer: makes the optimizer of each stage.
        teacher: of all outputs; `None`: exits learn from the end and, while widths shrink, the smaller networks from
            the whole one.
        distillation: how much is learned from the teacher.
    """

    arguments: dict[str, Any]
    optimizer: OptimizerTemplate
    teacher: keras.Model | None
    distillation: Distillation


@dataclass(frozen=True)
class BestEpoch:
    """The weights of the best epoch, the depth of its network, and whether that network had elastic widths."""

    weights: list[np.ndarray]
    depth: int
    elastic: bool


class NetworkInTraining:
    """The network that a growing fit trains; another one takes its place whenever its shape changes.

    Args:
        network: to start with.
        spec: what it was built from.
        compilation: what it is compiled with.

    Attributes:
        network: the present network.
        spec: what it is built from; after pruning, the spec of the compact network.
        fitted: what Keras fits: the network, or a `Distiller` around it.
        compilation: as given.
        whole: the network at full width, from which the smaller ones learn while widths shrink; else `None`.
        best: the best epoch so far.
        raw_weights: the weights that are trained, while the network holds the averaged ones; else `None`.
        on_compile: functions called with this object whenever `fitted` is another model.
    """

    def __init__(self, network: keras.Model, spec: NetworkSpec, compilation: Compilation):
        self.network, self.spec, self.fitted = network, builder.spec_of(network, spec), network
        self.compilation = compilation
        self.whole: keras.Model | None = None
        self.best: BestEpoch | None = None
        self.raw_weights: list[np.ndarray] | None = None
        self.on_compile: list[Callable[[NetworkInTraining], None]] = []
        self._costs: dict[int, float] = {}

    @property
    def depth(self) -> int:
        """Number of residual blocks."""
        return builder.depth_of(self.network)

    @property
    def dtype(self) -> str:
        """Name of the dtype policy."""
        return self.network.get_layer("stem_conv").dtype_policy.name

    @property
    def teacher(self) -> keras.Model | None:
        """The network that is learned from at present, besides the labels and the network's own end."""
        return self.compilation.teacher or self.whole

    # Cost.

    def training_macs(self) -> int:
        """Multiply-accumulates of a training step on one image, the teacher's included."""
        return cost.training_macs(self.network) + (cost.macs(self.teacher) if self.teacher else 0)

    def training_macs_at(self, depth: int) -> float:
        """The same at another depth, with nothing frozen, before widths shrink."""
        if depth not in self._costs:
            drawn = random.getstate()
            network = builder.build(self.spec, depth, self.dtype)
            random.setstate(drawn)  # what is only measured must not change what is drawn after it
            teacher = self.compilation.teacher
            self._costs[depth] = cost.training_macs(network) + (cost.macs(teacher) if teacher else 0)
        return self._costs[depth]

    # Shape.

    def deepen(self, carried_share: float = 1.0) -> list[str]:
        """Adds a block, to a share of the weights; returns the names of the layers that start fresh."""
        self.network, fresh = builder.deepen(self.network, self.spec, freeze_prefix=False, carried_share=carried_share)
        return fresh

    def compact(self) -> None:
        """Leaves out the channels that are zero throughout, if any; the result is the best epoch's network now."""
        if removable(self.network):
            self.network = compact(self.network)
            self.spec = builder.spec_of(self.network, self.spec)
            self.keep_as_best()

    def make_elastic(self) -> None:
        """Orders the channels by importance and makes widths elastic; a copy of the network becomes the teacher."""
        trained, depth = self.network, self.depth
        extraction.sort_channels(trained, self.spec)
        self.whole = builder.at_exit(trained, self.spec, depth)
        self.network = builder.build(self.spec, depth, self.dtype, elastic=True)
        builder.transfer_weights(trained, self.network)  # from the network itself: the teacher has no exits

    def make_plain(self) -> None:
        """Ends what `make_elastic` began; full width and weights stay."""
        self.whole = None
        if elastic.elastic_layers(self.network):
            trained = self.network
            self._rebuild(self.depth)
            builder.transfer_weights(trained, self.network)

    def _rebuild(self, depth: int, *, elastic_width: bool = False) -> None:
        """Replaces the network by a fresh one, unless it has that shape already."""
        is_elastic = bool(elastic.elastic_layers(self.network))
        other_channels = builder.spec_of(self.network, self.spec) != self.spec
        if other_channels or (depth, elastic_width) != (self.depth, is_elastic):
            self.network = builder.build(self.spec, depth, self.dtype, elastic=elastic_width)

    # Weights.

    def keep_as_best(self) -> None:
        """Remembers the present network as that of the best epoch."""
        is_elastic = bool(elastic.elastic_layers(self.network))
        self.best = BestEpoch(self.network.get_weights(), self.depth, is_elastic)

    def return_to_best(self) -> None:
        """Makes the network that of the best epoch, if there was one."""
        if self.best is not None:
            self._rebuild(self.best.depth, elastic_width=self.best.elastic)
            self.network.set_weights(self.best.weights)

    def take_best_at(self, depth: int) -> None:
        """Makes the network one of a depth, with the weights of the best epoch if that was at this depth."""
        self._rebuild(depth)
        if self.best is not None and self.best.depth == depth:
            self.network.set_weights(self.best.weights)

    def take_averages(self, images: Iterable, hold: Callable[[], None]) -> None:
        """Puts the averaged weights in, at full width, with BatchNorm statistics of their own.

        Args:
            images: batches on which the statistics are measured.
            hold: is called between: sets to zero what is pruned.
        """
        elastic.widen(self.network)
        self.raw_weights = self.network.get_weights()
        keras_backends.use_averaged_weights(self.network, self.fitted.optimizer)
        hold()
        averaging.recalibrate(self.network, images)

    def take_raw_weights(self) -> None:
        """Puts the weights back that are trained, if `take_averages` replaced them."""
        if self.raw_weights is not None:
            self.network.set_weights(self.raw_weights)
            self.raw_weights = None

    # Compilation.

    def compile(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Compiles the network, with its teacher if there is one."""
        self.fitted = trained_model(self.network, self.teacher, self.compilation.distillation)
        self.fitted.compile(**{**self.compilation.arguments, "optimizer": optimizer})
        for changed in self.on_compile:
            changed(self)

    # Snapshots.

    def channels(self) -> dict[str, Any]:
        """The channels that pruning has left, as JSON."""
        return {"inner": self.spec.inner, "stream": self.spec.stream}

    def arrays(self, *, metrics: bool) -> dict[str, list[np.ndarray]]:
        """All arrays of the network and its optimizer.

        Args:
            metrics: whether those of the metrics are wanted too: in the middle of an epoch.
        """
        keras_backends.sync_variables(self.fitted)
        return {
            "weights": self.network.get_weights(),
            "trained": self.raw_weights or [],
            "optimizer": [np.array(variable) for variable in self.fitted.optimizer.variables],
            "metrics": [np.array(variable) for variable in self.fitted.metrics_variables] if metrics else [],
            "best": self.best.weights if self.best else [],
            "found": self.whole.get_weights() if self.whole else [],
        }

    def restore_shape(self, channels: dict[str, Any], depth: int, arrays: dict[str, list[np.ndarray]]) -> None:
        """Makes the network, not yet compiled, one of the shape that it had at a snapshot."""
        self.spec = replace(self.spec, **channels)
        shrinks = bool(arrays["found"])
        self._rebuild(depth, elastic_width=shrinks)
        self.whole = builder.at_exit(self.network, self.spec, depth) if shrinks else None
        if self.whole:
            self.whole.set_weights(arrays["found"])

    def restore_weights(self, arrays: dict[str, list[np.ndarray]], best_depth: int, *, best_is_elastic: bool) -> None:
        """Puts the weights of a snapshot into the network, and its numbers into the optimizer, once compiled."""
        self.network.set_weights(arrays["weights"])
        self.raw_weights = arrays["trained"] or None
        self.best = BestEpoch(arrays["best"], best_depth, best_is_elastic) if arrays["best"] else None
        for variable, value in zip(self.fitted.optimizer.variables, arrays["optimizer"], strict=True):
            variable.assign(value)

    def add_to_metrics(self, values: list[np.ndarray]) -> None:
        """Adds what the metrics had counted before an interruption: all of Keras's are sums."""
        keras_backends.sync_variables(self.fitted)
        for variable, value in zip(self.fitted.metrics_variables, values, strict=True):
            variable.assign(variable + value)
