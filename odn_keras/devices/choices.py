"""The networks within a large one: their architectures and sizes, and what each option of a block adds to them."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from odn_keras.devices.block_search import Cost
from odn_keras.devices.latency_table import LatencyTable, parts
from odn_keras.errors import InputError
from odn_keras.networks import elastic, footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.budget import Budget

SUMS = ("flash_bytes", "macs", "arena_overhead", "instructions")  # of a footprint, which add up over the blocks


@dataclass(frozen=True)
class Choice:
    """One of the networks in the large one.

    Attributes:
        depth: number of residual blocks.
        fractions: of the channels that each inner layer keeps, from the first block's on (see `elastic.FRACTIONS`).
    """

    depth: int
    fractions: tuple[float, ...]


class Choices:
    """All networks of some depth whose inner layers each keep one of some fractions of their channels.

    A block's options are the combinations of the fractions in its inner layers. What goes into a block and out of it
    has the same channels in all of them, so that sizes are sums over the blocks, and the activations' peak is the
    largest of theirs. Of the arena that is the least it can be, which a memory plan may miss by a little.

    Args:
        spec: the large network's architecture.
        fractions: of the channels of an inner layer, rising to 1.
        latencies: of its parts, where latency is of interest.
        runs_on: a budget that says which kernels run the networks, and on what device: without `latencies` it predicts
            them where it can.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        fractions: Sequence[float],
        latencies: LatencyTable | None = None,
        runs_on: Budget | None = None,
    ):
        self._spec, self._fractions, self._latencies = spec, tuple(fractions), latencies
        self._runs_on = runs_on or Budget()
        self.sizes = lru_cache(maxsize=None)(self._sizes)

    def layers(self, depth: int) -> int:
        """Number of inner layers of the blocks up to that depth."""
        return sum(len(block.inner) for block in self._spec.blocks[:depth])

    def full(self, depth: int) -> Choice:
        """All channels of all layers up to that depth."""
        return Choice(depth, (1.0,) * self.layers(depth))

    def options(self, number: int) -> list[tuple[float, ...]]:
        """The options of block `number`, from 1: a fraction for each of its inner layers."""
        return list(itertools.product(self._fractions, repeat=len(self._spec.blocks[number - 1].inner)))

    def of_options(self, depth: int, options: Sequence[int]) -> Choice:
        """The choice of those options of the blocks, by number."""
        chosen = (self.options(number)[option] for number, option in enumerate(options, start=1))
        return Choice(depth, tuple(itertools.chain.from_iterable(chosen)))

    def spec_of(self, choice: Choice) -> NetworkSpec:
        """The architecture of a choice."""
        fractions = iter(choice.fractions)
        inner = tuple(
            tuple(elastic.active_channels(channels, next(fractions)) for channels in self._spec.inner_channels(number))
            for number in range(1, choice.depth + 1)
        )
        return dataclasses.replace(self._spec, exits=(), inner=inner)

    def check_latencies(self, depth: int) -> None:
        """Raises `InputError` where the latency table lacks a part of the networks up to that depth."""
        self._measured_latency(depth)

    def sums(self, depth: int, of_layer: Callable[[int, float], float]) -> list[np.ndarray]:
        """For each block up to that depth, for each of its options, the sum of a number over its inner layers.

        Args:
            depth: of the network.
            of_layer: the number of an inner layer, counted from 0, at a fraction.
        """
        layers, found = itertools.count(), []
        for number in range(1, depth + 1):
            options = self.options(number)
            own = [next(layers) for _ in options[0]]
            found.append(np.array([sum(map(of_layer, own, option)) for option in options]))
        return found

    def _sizes(self, choice: Choice) -> dict[str, float]:
        """`flash_bytes`, `arena_bytes` and `macs`, and where it can be predicted `latency_ms`."""
        graph = self._graph(choice)
        sizes: dict[str, float] = {name: getattr(graph, name) for name in ("flash_bytes", "arena_bytes", "macs")}
        if self._latencies is not None:
            sizes["latency_ms"] = self._latencies.milliseconds(self.spec_of(choice), choice.depth)
        elif self._per_ms is not None:
            sizes["latency_ms"] = graph.instructions / self._per_ms
        return sizes

    @property
    def _per_ms(self) -> float | None:
        return self._runs_on.room.instructions_per_ms if self._runs_on.room else None

    def costs(self, name: str, depth: int) -> list[Cost]:
        """The costs that add up to a size of the networks of a depth; for the latency, to `most` of it.

        Raises:
            InputError: where the latency table lacks a part, or there is none.
        """
        if name == "latency_ms" and (self._latencies is not None or self._per_ms is None):
            return [self._measured_latency(depth)]
        name = "instructions" if name == "latency_ms" else name
        whole = self._graph(self.full(depth))
        if name != "arena_bytes":
            return [Cost(getattr(whole, name), self._of_blocks[name][:depth])]
        in_blocks = set(itertools.chain.from_iterable(whole.blocks))
        outside = [kept for operator, kept in enumerate(whole.kept_bytes()) if operator not in in_blocks]
        return [
            Cost(whole.arena_overhead, self._of_blocks["arena_overhead"][:depth]),
            Cost(max(whole.planning_bytes, *outside), self._of_blocks["peak"][:depth], peak=True),
        ]

    def most(self, name: str, limit: float) -> float:
        """The limit on the sum of the costs that corresponds to a limit of the size."""
        if name != "latency_ms":
            return limit
        return limit * self._per_ms if self._latencies is None and self._per_ms else limit / self._table.factor

    @cached_property
    def _of_blocks(self) -> dict[str, list[np.ndarray]]:
        """For each block of the backbone, what its options add to the sizes at full width, and their peaks."""
        found: dict[str, list[np.ndarray]] = {name: [] for name in (*SUMS, "peak")}
        for number in range(1, self._spec.max_depth + 1):
            whole, graphs = self._graph(self.full(number)), [self._graph(choice) for choice in self.varied(number)]
            for name in SUMS:
                found[name].append(np.array([getattr(graph, name) - getattr(whole, name) for graph in graphs]))
            kept = [graph.kept_bytes() for graph in graphs]
            found["peak"].append(np.array([max(each[operator] for operator in whole.blocks[-1]) for each in kept]))
        return found

    def varied(self, number: int) -> list[Choice]:
        """For each option of a block, the network that ends with this block and is at full width before it."""
        return [Choice(number, self.full(number - 1).fractions + option) for option in self.options(number)]

    def _measured_latency(self, depth: int) -> Cost:
        names = (
            [parts(self.spec_of(choice), number)[number] for choice in self.varied(number)]
            for number in range(1, depth + 1)
        )
        of_blocks = [np.array([self._table.part_ms(name) for name in own]) for own in names]
        return Cost(self._table.outside_blocks(self._spec, depth), of_blocks)

    @property
    def _table(self) -> LatencyTable:
        if self._latencies is None:
            raise InputError("a limit of latency needs a table of latencies: python -m odn_keras.latency makes one")
        return self._latencies

    def _graph(self, choice: Choice) -> footprint.Footprint:
        return footprint.of_spec(self.spec_of(choice), choice.depth, self._runs_on.kernels)
