"""`ChannelPruning`: pruning as a callback of `fit`."""

import copy
import dataclasses
from typing import Any

import keras

from odn_keras.errors import InputError
from odn_keras.networks import cost, footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.budget import Budget
from odn_keras.prune.pruner import Pruner, PruningPlan
from odn_keras.prune.saliency import saliencies
from odn_keras.utils import keras_backends

TRAINED_WINDOW = 0.0, 0.1  # of a trained network's cycle: the earlier channels go, the longer the others make up for it


class ChannelPruning(keras.callbacks.Callback):
    """Prunes a network while `fit` trains it; `odn_keras.prune.compact` then makes the smaller network.

    With a plain `keras.Model` and any optimizer the channels that go are exactly zero after training, and at every
    validation. In `OptimallyDeepNetwork.fit` beside `DepthGrowth` it prunes the depth that was found, in a
    cycle of its own, and the network comes out compact.

    Args:
        sparsity: fraction of the parameters to remove, in [0, 1).
        budget: instead of that, what the int8 file, its arena in TFLite Micro and an image may take.
        start, end: the part of a `fit` in which channels are removed, as fractions of its steps. What comes
            before gives the network something to choose from, what comes after lets it recover. Default: 0.1 and 0.6;
            of the pruning cycle of a growing run, whose network is trained already, 0 and 0.1.
        streams: whether the channels of residual streams may go too, besides those inside blocks.

    Attributes:
        score: says how much channels matter: `odn_keras.prune.saliencies`, or a subclass's own.

    Raises:
        InputError: for a value out of range, here; when `fit` begins, for a network with a layer that there is no rule
            for, a goal that cannot be reached, or training data that do not say how many batches they have.

    >>> import numpy as np
    >>> from odn_keras import ChannelPruning, NetworkSpec, build, prune
    >>> network = build(NetworkSpec("resnet18", (8, 8, 1), num_classes=2, width=8), depth=1)
    >>> network.compile("sgd", "sparse_categorical_crossentropy")
    >>> images, labels = np.random.rand(32, 8, 8, 1) * 255, np.arange(32) % 2
    >>> history = network.fit(images, labels, epochs=4, verbose=0, callbacks=[ChannelPruning(sparsity=0.5)])
    >>> prune.compact(network).count_params() < 0.6 * network.count_params()
    True
    """

    score = staticmethod(saliencies)

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        budget: Budget | None = None,
        start: float | None = None,
        end: float | None = None,
        streams: bool = PruningPlan.streams,
    ):
        super().__init__()
        window = {name: part for name, part in (("start", start), ("end", end)) if part is not None}
        self._own_window = bool(window)
        self.plan = PruningPlan(sparsity, budget, streams=streams, **window)
        self._pruner: Pruner | None = None  # during a `fit`
        self._first_epoch = self._epoch = self._steps = 0

    def of_trained(self) -> "ChannelPruning":
        """The same for a network that is trained already, whose window is another unless `start` or `end` was given."""
        pruning = copy.copy(self)
        if not self._own_window:
            start, end = TRAINED_WINDOW
            pruning.plan = dataclasses.replace(self.plan, start=start, end=end)
        return pruning

    def pruner(self, network: keras.Model, steps: int) -> Pruner:
        """What carries the plan out on a network, in so many training steps.

        Raises:
            InputError: for a layer that there is no rule for, or a goal that cannot be reached.
        """
        return Pruner(network, self.plan, steps, self.score)

    def check(self, spec: NetworkSpec, first: int, deepest: int) -> list[int]:
        """The depths of a growing run at which the goal is within reach.

        Args:
            spec: the architecture.
            first: the depth that the run begins with.
            deepest: the depth that it may grow to.

        Raises:
            InputError: where there is none; it says what the deepest network would still have.
        """
        streams, depths = self.plan.streams, range(first, deepest + 1)
        sizes = {
            depth: (self._sizes(_smallest(spec, depth, streams=streams), depth), self._sizes(spec, depth))
            for depth in depths
        }
        within = [depth for depth in depths if self.plan.excess(*sizes[depth]) == 0]
        if not within:
            raise InputError(f"at depth {deepest}: {self.plan.refusal(*sizes[deepest])}")
        return within

    def _sizes(self, spec: NetworkSpec, depth: int) -> dict[str, float]:
        if self.plan.budget is None:
            return {"parameters": cost.params_of_spec(spec, depth)}
        graph = footprint.of_spec(spec, depth, self.plan.budget.kernels)
        return {name: getattr(graph, name) for name in self.plan.budget.limits}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks that the network can be pruned to the goal, before the first step."""
        if not self.params.get("steps"):
            raise InputError("ChannelPruning must know how many batches an epoch has: give fit steps_per_epoch")
        self._pruner, self._steps = None, self.params["steps"]
        self.pruner(self._network(), steps=1)  # raises where it cannot be done

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Makes the pruner, for the epochs that are left, at the first of them."""
        if self._pruner is None:
            self._first_epoch = epoch
            self._pruner = self.pruner(self._network(), self._steps * (self.params["epochs"] - epoch))
        self._epoch = epoch - self._first_epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Lets the pruner fade channels where it is due."""
        step = self._epoch * self._steps + min(batch, self._steps - 1)
        if self._pruner and self._pruner.due(step):
            keras_backends.sync_variables(self.model)
            self._pruner.after_step(step)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sets what is pruned to zero before the network is validated."""
        self._hold()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets what is pruned to zero before the network is saved."""
        self._hold()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Sets what is pruned to zero in the trained network."""
        self._hold()

    def _network(self) -> keras.Model:
        """What is pruned: the model that `fit` trains or, where that is a `Distiller` around it, its student."""
        return getattr(self.model, "student", self.model)

    def _hold(self) -> None:
        if self._pruner:
            keras_backends.sync_variables(self.model)
            self._pruner.hold()


def _smallest(spec: NetworkSpec, depth: int, *, streams: bool) -> NetworkSpec:
    """The network of that depth with one channel in every group that may be pruned."""
    inner = tuple((1,) * len(spec.inner_channels(number)) for number in range(1, spec.max_depth + 1))
    begins = [number for number in spec.streams if number <= depth]
    ends = [*begins[1:], depth + 1]
    # A stream that a single convolution writes to, as where nothing is added, is a group like inner ones.
    writers = [sum(map(spec.writers, range(begin, end))) for begin, end in zip(begins, ends, strict=True)]
    stream = tuple(
        spec.out_channels(begin) if count > 1 and not streams else 1
        for begin, count in zip(begins, writers, strict=True)
    )
    return dataclasses.replace(spec, inner=inner, stream=stream)
