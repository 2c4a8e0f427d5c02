"""Chooses, out of a network that holds many, the one for a device: its depth and the widths of its blocks.

How much accuracy each narrowing costs is measured once, on validation images, one inner layer and one fraction at a
time and at all exits together; the losses are taken to add up. With them and the exact sizes of `odn_keras.footprint`
each exit is narrowed step by step until it keeps the limits. What that proposes is cut out, its BatchNorm statistics
are measured anew on training images, and its real validation accuracy decides.

Source of the idea: Once-for-All (arXiv 1908.09791), section on specialised deployment; the search is ours.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import keras
import numpy as np

from odn_keras import averaging, builder, elastic, footprint, subnetwork
from odn_keras.architectures import NetworkSpec
from odn_keras.batches import Batches, EvaluationBatches
from odn_keras.budget import Budget
from odn_keras.data import Dataset
from odn_keras.errors import InputError
from odn_keras.latency_table import LatencyTable

SENSITIVITY_IMAGES = 5000
RECALIBRATION_IMAGES = 128  # of a batch
EVALUATION_BATCH = 500
VERIFIED = 4  # proposals whose accuracy is measured
FRONTIER_POINTS = 12


@dataclass(frozen=True)
class Choice:
    """One of the networks in the large one.

    Attributes:
        depth: number of residual blocks.
        fractions: of the channels that each inner layer keeps, from the first block's on (see `elastic.FRACTIONS`).
    """

    depth: int
    fractions: tuple[float, ...]


@dataclass(frozen=True)
class Specialized:
    """A network that was cut out and measured.

    Attributes:
        choice: which one.
        spec: the same as an architecture.
        network: a plain functional `keras.Model` of one output.
        sizes: `flash_bytes`, `arena_bytes` and `macs`, and with a latency table `latency_ms`, as predicted.
        val_accuracy: on all validation images.
        finetuning: what training it on alone took and brought (see `odn_keras.finetuning`), if that was done.
    """

    choice: Choice
    spec: NetworkSpec
    network: keras.Model
    sizes: dict[str, float]
    val_accuracy: float
    finetuning: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON."""
        described = {"depth": self.choice.depth, "inner": [list(channels) for channels in self.spec.inner]}
        return {**described, **self.sizes, "val_accuracy": self.val_accuracy}


def validation_accuracy(network: keras.Model, dataset: Dataset) -> float:
    """Which fraction of a dataset's validation images a network of one output classifies as they are labelled."""
    batches = EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH)
    return float(np.mean(network.predict(batches, verbose=0).argmax(axis=-1) == dataset.validation[1]))


class Specialization:
    """The search through the networks in one that was trained with exits, shrunk widths, or both.

    Args:
        network: the large one, made by `odn_keras.build` from the spec.
        spec: its architecture.
        dataset: whose training images BatchNorm statistics are measured on, and whose validation images decide.
        widths: whether blocks may be narrowed: it was trained at smaller widths too, or what is found will be.
        latencies: of its parts, where latency is of interest.
        progress: called with a line for each step of the search.

    Raises:
        InputError: where the network holds no smaller one, or the latencies are of another's parts.
    """

    def __init__(
        self,
        network: keras.Model,
        spec: NetworkSpec,
        dataset: Dataset,
        *,
        widths: bool,
        latencies: LatencyTable | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ):
        self._network, self._spec, self._dataset, self._progress = network, spec, dataset, progress
        self.depths = (*spec.exits_before(builder.depth_of(network)), builder.depth_of(network))
        if len(self.depths) == 1 and not widths:
            raise InputError("the network holds no smaller one: train with --exits=all, or --shrink_epochs, or both")
        self._ladder, self._latencies = elastic.FRACTIONS if widths else (1.0,), latencies
        self._measured: dict[Choice, Specialized] = {}
        self.sizes = lru_cache(maxsize=None)(self._sizes)
        for depth, fraction in itertools.product(self.depths, self._ladder):
            self.sizes(Choice(depth, (fraction,) * self.layers(depth)))  # refuses what the latencies lack

    # What there is.

    def layers(self, depth: int) -> int:
        """How many inner layers the blocks up to that depth have."""
        return sum(len(block.inner(1)) for block in self._spec.blocks[:depth])

    def spec_of(self, choice: Choice) -> NetworkSpec:
        """The architecture of a choice."""
        fractions = iter(choice.fractions)
        inner = tuple(
            tuple(elastic.active_channels(channels, next(fractions)) for channels in self._spec.inner_channels(number))
            for number in range(1, choice.depth + 1)
        )
        return dataclasses.replace(self._spec, exits=(), inner=inner)

    def _sizes(self, choice: Choice) -> dict[str, float]:
        spec = self.spec_of(choice)
        sizes: dict[str, float] = {
            "flash_bytes": footprint.flash_bytes(spec, choice.depth),
            "arena_bytes": footprint.arena_bytes(spec, choice.depth),
            "macs": footprint.macs(spec, choice.depth),
        }
        if self._latencies is None:
            return sizes
        return {**sizes, "latency_ms": self._latencies.milliseconds(spec, choice.depth)}

    # How accurate it is.

    @cached_property
    def _losses(self) -> tuple[dict[int, float], np.ndarray]:
        """The accuracy at each exit, and what each narrowing costs there: (exit, inner layer, step of the ladder)."""
        depth = self.depths[-1]
        elastic_network = builder.build(self._spec, depth, "float32", elastic=True)
        weights_of = {layer.name: layer for layer in self._network.layers}
        builder.transfer_weights(self._network, elastic_network)
        norms = [layer for layer in elastic_network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        images, labels = self._dataset.validation
        labels = labels[:SENSITIVITY_IMAGES]
        batches = EvaluationBatches((images[:SENSITIVITY_IMAGES], labels), self._spec.num_classes, EVALUATION_BATCH)

        def accuracies() -> np.ndarray:
            outputs = keras.tree.flatten(elastic_network.predict(batches, verbose=0))
            return np.array([np.mean(output.argmax(axis=-1) == labels) for output in outputs])

        count = self.layers(depth)
        whole = accuracies()
        losses = np.zeros((len(self.depths), count, len(self._ladder)))
        narrower = [step for step, fraction in enumerate(self._ladder) if fraction < 1]
        for layer, step in itertools.product(range(count), narrower):
            self._progress(f"what narrowing costs: {layer * len(narrower) + step + 1} of {count * len(narrower)}")
            fractions = [1.0] * count
            fractions[layer] = self._ladder[step]
            elastic.set_widths(elastic_network, fractions)
            averaging.recalibrate(elastic_network, self._training_images())
            losses[:, layer, step] = whole - accuracies()
            for norm in norms:
                norm.set_weights(weights_of[norm.name].get_weights())
        # Less width costs no less: what says otherwise is noise.
        losses = np.maximum.accumulate(np.maximum(losses, 0)[..., ::-1], axis=-1)[..., ::-1]
        return dict(zip(self.depths, whole, strict=True)), losses

    def predicted(self, choice: Choice) -> float:
        """The validation accuracy that the losses of its narrowings leave."""
        whole, losses = self._losses
        at = losses[self.depths.index(choice.depth)]
        lost = (at[layer, self._ladder.index(fraction)] for layer, fraction in enumerate(choice.fractions))
        return whole[choice.depth] - sum(lost)

    def measure(self, choice: Choice) -> Specialized:
        """Cuts the choice out, measures its BatchNorm statistics on training images, and its validation accuracy."""
        if choice not in self._measured:
            spec = self.spec_of(choice)
            network = subnetwork.cut_out(self._network, self._spec, choice.depth, spec.inner)
            averaging.recalibrate(network, self._training_images())
            accuracy = validation_accuracy(network, self._dataset)
            self._measured[choice] = Specialized(choice, spec, network, self.sizes(choice), accuracy)
        return self._measured[choice]

    def _training_images(self) -> Iterator[np.ndarray]:
        batches = Batches(
            self._dataset.train, self._spec.num_classes, min(RECALIBRATION_IMAGES, len(self._dataset.train[0]))
        )
        return averaging.some_batches(batches, None)

    # The search.

    def best(self, limits: Budget) -> Specialized:
        """The most accurate network within the limits.

        Raises:
            InputError: where none is; it says which one comes nearest.
        """
        proposals = [choice for depth in self.depths if (choice := self._within(depth, limits)) is not None]
        if not proposals:
            self._refuse(limits)
        return max(self._verified(proposals, VERIFIED), key=lambda found: found.val_accuracy)

    def smallest(self, min_accuracy: float, limits: Budget) -> Specialized:
        """The network of the fewest bytes of flash that keeps the limits and reaches a validation accuracy.

        Raises:
            InputError: where none does; it says which one comes nearest.
        """
        fitting = self._frontier(limits)
        low, high = 0, len(fitting)
        while low < high:  # by bisection: among those on the frontier the larger is the more accurate
            middle = (low + high) // 2
            self._tell_measuring(fitting[middle])
            if self.measure(fitting[middle]).val_accuracy >= min_accuracy:
                high = middle
            else:
                low = middle + 1
        if low < len(fitting):
            return self.measure(fitting[low])
        nearest = self.best(limits)
        if nearest.val_accuracy >= min_accuracy:
            return nearest
        raise InputError(
            f"no network in this one reaches {min_accuracy:.4f} within {limits}: the nearest, of depth "
            f"{nearest.choice.depth} and {nearest.sizes['flash_bytes']:,} bytes, has {nearest.val_accuracy:.4f}"
        )

    def frontier(self) -> list[Specialized]:
        """The networks than which none measured is both smaller and more accurate, the smallest first."""
        proposals = self._frontier(Budget())
        picked = np.unique(np.linspace(0, len(proposals) - 1, FRONTIER_POINTS).round().astype(int))
        measured = {proposals[index] for index in picked} | {self._full(depth) for depth in self.depths}
        found: list[Specialized] = []
        for one in self._verified(measured, len(measured)):
            if not found or one.val_accuracy > found[-1].val_accuracy:
                found.append(one)
        return found

    def _verified(self, choices: Iterable[Choice], most: int) -> list[Specialized]:
        """The choices that are predicted to be the most accurate, measured, the smallest first."""
        likely = sorted(choices, key=self.predicted)[-most:]
        found = []
        for choice in sorted(likely, key=lambda choice: self.sizes(choice)["flash_bytes"]):
            self._tell_measuring(choice)
            found.append(self.measure(choice))
        return found

    def _tell_measuring(self, choice: Choice) -> None:
        self._progress(f"measuring depth {choice.depth} of {self.sizes(choice)['flash_bytes']:,} bytes")

    def _full(self, depth: int) -> Choice:
        return Choice(depth, (1.0,) * self.layers(depth))

    def _neighbours(self, choice: Choice, direction: int) -> Iterator[Choice]:
        """The choices in which one inner layer is one step of the ladder wider (1) or narrower (-1)."""
        for layer, fraction in enumerate(choice.fractions):
            step = self._ladder.index(fraction) + direction
            if 0 <= step < len(self._ladder):
                changed = (*choice.fractions[:layer], self._ladder[step], *choice.fractions[layer + 1 :])
                yield Choice(choice.depth, changed)

    def _narrowed(self, choice: Choice, size: Callable[[Choice], float]) -> Choice | None:
        """The next narrower choice that loses the least accuracy for what it saves; `None` at the narrowest."""

        def price(narrower: Choice) -> tuple[float, ...]:
            lost, saved = self.predicted(choice) - self.predicted(narrower), size(choice) - size(narrower)
            flash = self.sizes(choice)["flash_bytes"] - self.sizes(narrower)["flash_bytes"]
            # of a few channels two fractions can leave as many
            return tuple((lost + 1e-9) / less if less > 0 else math.inf for less in (saved, flash))

        return min(self._neighbours(choice, -1), key=price, default=None)

    def _within(self, depth: int, limits: Budget) -> Choice | None:
        """That depth narrowed until it keeps the limits, then changed for the better as long as it keeps them."""

        def excess(choice: Choice) -> float:
            return limits.excess(self.sizes(choice))

        choice: Choice | None = self._full(depth)
        while choice is not None and excess(choice) > 0:
            choice = self._narrowed(choice, excess)
        while choice is not None:
            wider = list(self._neighbours(choice, 1))
            exchanged = (other for one in wider for other in self._neighbours(one, -1))
            fitting = (other for other in (*wider, *exchanged) if excess(other) == 0)
            better = max(fitting, key=self.predicted, default=choice)
            if self.predicted(better) <= self.predicted(choice):
                return choice
            choice = better
        return None

    def _frontier(self, limits: Budget) -> list[Choice]:
        """Choices within the limits, none of which is predicted to be worse than a smaller one, the smallest first.

        They are those on the way from the best of each depth to its narrowest.
        """

        def flash(choice: Choice) -> float:
            return self.sizes(choice)["flash_bytes"]

        choices = []
        for depth in self.depths:
            choice = self._within(depth, limits)
            while choice is not None:
                if not limits.excess(self.sizes(choice)):  # narrower can be slower, as measured
                    choices.append(choice)
                choice = self._narrowed(choice, flash)
        found: list[Choice] = []
        for choice in sorted(choices, key=lambda choice: (flash(choice), -self.predicted(choice))):
            if not found or self.predicted(choice) > self.predicted(found[-1]):
                found.append(choice)
        return found

    def _refuse(self, limits: Budget) -> None:
        narrowest = [Choice(depth, (self._ladder[0],) * self.layers(depth)) for depth in self.depths]
        nearest = min(narrowest, key=lambda choice: limits.excess(self.sizes(choice)))
        sizes = self.sizes(nearest)
        latency = f", and {sizes['latency_ms']:.4g} ms" if self._latencies else ""
        narrower = "" if len(self._ladder) > 1 else "; with --finetune_epochs blocks can be narrower"
        raise InputError(
            f"no network in this one keeps {limits}: the nearest, of depth {nearest.depth}, needs "
            f"{sizes['flash_bytes']:,} bytes of flash, an arena of {sizes['arena_bytes']:,}, {sizes['macs']:,} MACs"
            f"{latency}{narrower}"
        )
