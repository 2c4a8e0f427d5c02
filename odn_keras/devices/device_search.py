"""Chooses the network for a device out of a large network: its depth and the widths of its blocks.

The accuracy that each narrowing costs is measured once, on validation images: one inner layer and one fraction at a
time, at all exits together. The losses are assumed to add up. Flash, MACs and latency add up over the blocks too, and
the arena is the largest of the blocks' peaks. So `odn_keras.devices.block_search` finds, for each exit, the choice of
the least loss within limits exactly. These proposals are cut out, their BatchNorm statistics are measured again on
training images, and their real validation accuracy decides.

Source of the idea: Once-for-All (arXiv 1908.09791), section on specialised deployment; the search is ours.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import keras
import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.data.datasets import Dataset
from odn_keras.devices.accuracy import accuracies, validation_accuracy
from odn_keras.devices.block_search import BlockSearch, Cost, Limit
from odn_keras.devices.choices import Choice, Choices
from odn_keras.devices.latency_table import LatencyTable
from odn_keras.errors import InputError
from odn_keras.growing import averaging
from odn_keras.networks import builder, elastic, extraction
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.budget import Budget

SENSITIVITY_IMAGES = 5000
RECALIBRATION_IMAGES = 128  # of a batch
VERIFIED = 4  # proposals whose accuracy is measured
FRONTIER_POINTS = 12


@dataclass(frozen=True)
class Specialized:
    """A network that was cut out and measured.

    Attributes:
        choice: depth and fractions of width.
        spec: the architecture.
        network: a plain functional `keras.Model` of one output.
        sizes: `flash_bytes`, `arena_bytes` and `macs`, and with a latency table `latency_ms`, as predicted.
        val_accuracy: on all validation images.
        finetuning: cost and result of its fine-tuning (see `odn_keras.devices.finetuning`); `None` without.
    """

    choice: Choice
    spec: NetworkSpec
    network: keras.Model
    sizes: dict[str, float]
    val_accuracy: float
    finetuning: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """A summary as JSON: depth, inner channels, sizes and accuracy."""
        described = {"depth": self.choice.depth, "inner": [list(channels) for channels in self.spec.inner]}
        return {**described, **self.sizes, "val_accuracy": self.val_accuracy}


class Specialization:
    """The search through the networks in one that was trained with exits, shrunk widths, or both.

    Args:
        network: the large one, made by `odn_keras.build` from the spec.
        spec: its architecture.
        dataset: whose training images BatchNorm statistics are measured on, and whose validation images decide.
        widths: True where blocks may be narrowed: the network was trained at smaller widths too, or the one found will
            be fine-tuned.
        latencies: of its parts, for limits of latency.
        runs_on: a budget that says which kernels run the networks, and on what device.
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
        runs_on: Budget | None = None,
        progress: Callable[[str], None] = lambda line: None,
    ):
        self._network, self._spec, self._dataset, self._progress = network, spec, dataset, progress
        self.depths = (*spec.exits_before(builder.depth_of(network)), builder.depth_of(network))
        if len(self.depths) == 1 and not widths:
            raise InputError("the network holds no smaller one: train with --exits=all, or --shrink_epochs, or both")
        self._ladder = elastic.FRACTIONS if widths else (1.0,)
        self._choices = Choices(spec, self._ladder, latencies, runs_on or Budget())
        self.sizes = self._choices.sizes
        self._measured: dict[Choice, Specialized] = {}
        if latencies:
            self._choices.check_latencies(self.depths[-1])

    # How accurate it is.

    @cached_property
    def _losses(self) -> tuple[dict[int, float], np.ndarray]:
        """Accuracy at each exit, and the loss of each narrowing, shape (exits, inner layers, steps of the ladder)."""
        depth = self.depths[-1]
        elastic_network = builder.build(self._spec, depth, "float32", elastic=True)
        weights_of = {layer.name: layer for layer in self._network.layers}
        builder.transfer_weights(self._network, elastic_network)
        norms = [layer for layer in elastic_network.layers if isinstance(layer, keras.layers.BatchNormalization)]
        images, labels = self._dataset.validation
        split = images[:SENSITIVITY_IMAGES], labels[:SENSITIVITY_IMAGES]

        def measured() -> np.ndarray:
            return np.array(accuracies(elastic_network, split, self._spec.num_classes))

        count = self._choices.layers(depth)
        whole = measured()
        losses = np.zeros((len(self.depths), count, len(self._ladder)))
        narrower = [step for step, fraction in enumerate(self._ladder) if fraction < 1]
        for layer, step in itertools.product(range(count), narrower):
            self._progress(f"what narrowing costs: {layer * len(narrower) + step + 1} of {count * len(narrower)}")
            fractions = [1.0] * count
            fractions[layer] = self._ladder[step]
            elastic.set_widths(elastic_network, fractions)
            averaging.recalibrate(elastic_network, self._training_images())
            losses[:, layer, step] = whole - measured()
            for norm in norms:
                norm.set_weights(weights_of[norm.name].get_weights())
        # A narrower layer loses no less: where it seems to, that is noise.
        losses = np.maximum.accumulate(np.maximum(losses, 0)[..., ::-1], axis=-1)[..., ::-1]
        return dict(zip(self.depths, whole, strict=True)), losses

    def predicted(self, choice: Choice) -> float:
        """The validation accuracy predicted: that of the exit less the losses of all narrowings."""
        whole, losses = self._losses
        at = losses[self.depths.index(choice.depth)]
        lost = (at[layer, self._ladder.index(fraction)] for layer, fraction in enumerate(choice.fractions))
        return whole[choice.depth] - sum(lost)

    def measure(self, choice: Choice) -> Specialized:
        """Cuts the choice out, measures its BatchNorm statistics on training images, and its validation accuracy."""
        if choice not in self._measured:
            self._progress(f"measuring depth {choice.depth} of {self.sizes(choice)['flash_bytes']:,} bytes")
            spec = self._choices.spec_of(choice)
            network = extraction.cut_out(self._network, self._spec, choice.depth, inner=spec.inner)
            averaging.recalibrate(network, self._training_images())
            accuracy = validation_accuracy(network, self._dataset)
            self._measured[choice] = Specialized(
                choice=choice, spec=spec, network=network, sizes=self.sizes(choice), val_accuracy=accuracy
            )
        return self._measured[choice]

    def _training_images(self) -> Iterator[np.ndarray]:
        batches = Batches(
            self._dataset.train, self._spec.num_classes, min(RECALIBRATION_IMAGES, len(self._dataset.train[0]))
        )
        return averaging.some_batches(batches, None)

    # The search.

    def best(self, limits: Budget) -> Specialized:
        """The most accurate network within the limits.

        Of each depth the choice that is predicted to be the most accurate is found exactly; the likeliest few are
        measured.

        Raises:
            InputError: where none is; it says which one comes nearest.
        """
        return max(self._measured_in_order(self._proposals(limits)), key=lambda found: found.val_accuracy)

    def smallest(self, min_accuracy: float, limits: Budget) -> Specialized:
        """A network of few bytes of flash that keeps the limits and reaches a validation accuracy.

        Accuracies as measured do not rise along the predicted frontier without fail. The points that `frontier` shows
        are measured from the smallest on until one reaches the accuracy; where one does not keep the limits, the best
        that does and is no larger takes its place. Then the choices of the frontier between that one and the one
        before it are searched by bisection. So what is found is never larger than a point of the frontier that would
        do, and nothing is refused unless all of them, and the best within the limits, were measured.

        Raises:
            InputError: where none does; it says which one comes nearest.
        """
        measured: list[Specialized] = []
        for choice in self._by_flash({*self._proposals(limits), *self._shown_within(limits)}):
            measured.append(self.measure(choice))
            if measured[-1].val_accuracy >= min_accuracy:
                return self._bisected(measured, min_accuracy, limits)
        nearest = max(measured, key=lambda found: found.val_accuracy)
        raise InputError(
            f"no network in this one reaches {min_accuracy:.4f} within {limits}: the nearest, of depth "
            f"{nearest.choice.depth} and {nearest.sizes['flash_bytes']:,} bytes, has {nearest.val_accuracy:.4f}"
        )

    def frontier(self) -> list[Specialized]:
        """The measured networks that none is both smaller and more accurate than, the smallest first."""
        found: list[Specialized] = []
        for one in map(self.measure, self._by_flash(self._shown)):
            if not found or one.val_accuracy > found[-1].val_accuracy:
                found.append(one)
        return found

    @cached_property
    def non_dominated(self) -> list[Choice]:
        """The choices that no smaller one is predicted to equal in accuracy, the smallest first."""
        found: list[Choice] = []
        for depth in self.depths:
            search = BlockSearch(self._losses_at(depth), self._choices.costs("flash_bytes", depth))
            found += [self._choices.of_options(depth, options) for options in search.frontier(cost=0)]
        found.sort(key=lambda choice: (self.sizes(choice)["flash_bytes"], -self.predicted(choice)))
        best = np.maximum.accumulate([-np.inf, *map(self.predicted, found)])
        return [choice for choice, before in zip(found, best, strict=False) if self.predicted(choice) > before]

    def _proposals(self, limits: Budget) -> list[Choice]:
        """The choices predicted to be the most accurate within the limits, at most one of each depth."""
        found = [choice for depth in self.depths if (choice := self._within(depth, limits)) is not None]
        if not found:
            self._refuse(limits)
        return sorted(found, key=self.predicted)[-VERIFIED:]

    @cached_property
    def _shown(self) -> set[Choice]:
        """The choices measured for the frontier: some of those that none dominates, and the widest of each depth."""
        picked = np.unique(np.linspace(0, len(self.non_dominated) - 1, FRONTIER_POINTS).round().astype(int))
        return {self.non_dominated[index] for index in picked} | {self._choices.full(depth) for depth in self.depths}

    def _shown_within(self, limits: Budget) -> Iterator[Choice]:
        """The points of the frontier; for a point that exceeds the limits, the best smaller one that keeps them."""
        for choice in self._shown:
            flash = int(self.sizes(choice)["flash_bytes"])
            if self._keeps(choice, limits):
                yield choice
            elif limits.max_flash is None or flash < limits.max_flash:
                smaller = dataclasses.replace(limits, max_flash=flash)
                found = [one for depth in self.depths if (one := self._within(depth, smaller)) is not None]
                yield from sorted(found, key=self.predicted)[-1:]

    def _bisected(self, measured: list[Specialized], min_accuracy: float, limits: Budget) -> Specialized:
        """The last network measured, or a smaller one between it and the network before it."""
        found = measured[-1]
        least, most = (one.sizes["flash_bytes"] for one in (measured[-2:] if measured[1:] else (found, found)))
        between = [
            choice
            for choice in self.non_dominated
            if least < self.sizes(choice)["flash_bytes"] < most and self._keeps(choice, limits)
        ]
        while between:
            middle = len(between) // 2
            if (one := self.measure(between[middle])).val_accuracy >= min_accuracy:
                found, between = one, between[:middle]
            else:
                between = between[middle + 1 :]
        return found

    def _measured_in_order(self, choices: Iterable[Choice]) -> list[Specialized]:
        return [self.measure(choice) for choice in self._by_flash(choices)]

    def _by_flash(self, choices: Iterable[Choice]) -> list[Choice]:
        """The choices sorted by flash, and among equal ones by predicted accuracy, the highest first."""
        return sorted(
            choices,
            key=lambda one: (self.sizes(one)["flash_bytes"], -self.predicted(one), one.depth, one.fractions),
        )

    def _keeps(self, choice: Choice, limits: Budget) -> bool:
        return limits.excess(self.sizes(choice)) == 0

    def _within(self, depth: int, limits: Budget) -> Choice | None:
        """The choice of a depth that loses least within the limits; among equal ones the widest."""
        costs: list[Cost] = []
        bounds = []
        for name, most in limits.limits.items():
            own = self._choices.costs(name, depth)
            bounds.append(Limit(tuple(range(len(costs), len(costs) + len(own))), self._choices.most(name, most)))
            costs += own
        narrowed = self._choices.sums(depth, lambda layer, fraction: 1 - fraction)
        search = BlockSearch(self._losses_at(depth), costs, bounds, ties=narrowed)
        found = search.best(lambda options: self._keeps(self._choices.of_options(depth, options), limits))
        return None if found is None else self._choices.of_options(depth, found)

    def _losses_at(self, depth: int) -> list[np.ndarray]:
        at = self._losses[1][self.depths.index(depth)]
        return self._choices.sums(depth, lambda layer, fraction: at[layer, self._ladder.index(fraction)])

    def _refuse(self, limits: Budget) -> NoReturn:
        least = [
            self._choices.of_options(depth, tuple(int(np.argmin(options)) for options in cost.options))
            for depth in self.depths
            for name in limits.limits
            for cost in self._choices.costs(name, depth)
        ]
        nearest = min(least, key=lambda choice: limits.excess(self.sizes(choice)))
        sizes = self.sizes(nearest)
        latency = f", and {sizes['latency_ms']:.4g} ms" if "latency_ms" in sizes else ""
        narrower = "" if len(self._ladder) > 1 else "; with --finetune_epochs blocks can be narrower"
        raise InputError(
            f"no network in this one keeps {limits}: the nearest, of depth {nearest.depth}, needs "
            f"{sizes['flash_bytes']:,} bytes of flash, an arena of {sizes['arena_bytes']:,}, {sizes['macs']:,} MACs"
            f"{latency}{narrower}"
        )
