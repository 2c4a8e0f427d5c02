"""A start from a trained network: its stem and blocks are carried over into another one, of other classes or images."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from odn_keras.errors import InputError
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.backbones import MOST_WIDTH

STEM_CONV = "stem_conv"
AS_IT_WAS, SUMMED, REPEATED = "as it was", "summed over the colours", "repeated for the colours"


@dataclass(frozen=True)
class Carried:
    """What a network has of the one that it started from.

    Attributes:
        stem: how its filters became those of the new one: as they were, summed over the colours or repeated for them.
        blocks: how many blocks, from the first.
        start_blocks: how many blocks the start has.
        params: how many weights, the statistics of normalisation included.
        pruned: whether the network has the channels that pruning has left in the start.
    """

    stem: str
    blocks: int
    start_blocks: int
    params: int
    pruned: bool

    def describe(self) -> str:
        """A line for the user."""
        stem = "the stem" if self.stem == AS_IT_WAS else f"the stem ({self.stem})"
        channels = ", with the channels that pruning has left," if self.pruned else ""
        return (
            f"carried over from the start: {stem} and {self.blocks} of its {self.start_blocks} blocks{channels} "
            f"{self.params:,} weights; the head is new"
        )


class Start:
    """A trained network as the start of another one.

    What is carried over is the stem and, from the first on, every block whose weights have the shapes of the new
    network's; heads never are. Between one channel and three the stem's filters are summed over the colours, or
    repeated for them and divided by three: a grey image gives both the same features. The stem reads images times
    `input_scale`, so images in other units need another `input_scale`, and no other filters. A network whose channels
    were pruned hands its channels on.

    Args:
        network: made by `odn_keras.build` or found by `odn_keras.run`, pruned or not; left unchanged.
        spec: the architecture of the new network.

    Attributes:
        network: as given.
        spec: the same with the channels that pruning has left in the start.
        blocks: how many of its blocks fit.

    Raises:
        InputError: where it is another kind of network, or no block of it fits.
    """

    def __init__(self, network: keras.Model, spec: NetworkSpec):
        self.network = network
        self._origins = {layer.name: layer for layer in getattr(network, "layers", ()) if layer.weights}
        if STEM_CONV not in self._origins or not builder.depth_of(network):
            raise InputError(
                f"the start {network.name} is another kind of network: it must have the stem and the blocks of one "
                "that odn_keras.build makes"
            )
        self._depth = builder.depth_of(network)
        self.spec = self._with_channels_left(network, spec)
        wanted = builder.build(self.spec, min(self._depth, spec.max_depth), "float32")
        unfit = next((layer.name for layer in _body(wanted) if not self._fits(layer)), None)
        self.blocks = builder.depth_of(wanted) if unfit is None else builder.block_of(unfit) - 1
        if unfit is not None and self.blocks < 1:
            raise InputError(self._refusal(network, spec, wanted.get_layer(unfit)))

    def carry_into(self, network: keras.Model) -> Carried:
        """Puts the weights into a network that was built from `spec`; returns what it has of the start.

        Args:
            network: with at most as many blocks of the start as it has itself.
        """
        blocks = min(self.blocks, builder.depth_of(network))
        params = 0
        for layer in _body(network):
            if builder.block_of(layer.name) <= blocks:
                layer.set_weights(self._weights_for(layer))
                params += sum(int(np.prod(weight.shape)) for weight in layer.weights)
        return Carried(
            stem=self._stem(network.get_layer(STEM_CONV)),
            blocks=blocks,
            start_blocks=self._depth,
            params=params,
            pruned=bool(self.spec.inner or self.spec.stream),
        )

    def _with_channels_left(self, network: keras.Model, spec: NetworkSpec) -> NetworkSpec:
        """The spec with the channels of the start where these are what pruning may have left of it."""
        depth = self._blocks_of_same_kind(spec)
        if not depth:
            return spec
        found, wanted = self._channels(spec, depth), _channels(spec, depth)
        pruned = found != wanted and all(there <= full for there, full in zip(found, wanted, strict=True))
        if not pruned or self._width(spec) is not None:
            return spec
        return builder.spec_of(network, spec, depth)

    def _blocks_of_same_kind(self, spec: NetworkSpec) -> int:
        """How many blocks, from the first, have the convolutions that the spec says, whatever their channels."""
        depth = min(self._depth, spec.max_depth)
        for number in range(1, depth + 1):
            for which, layer in enumerate(spec.convolutions(number), start=1):
                origin = self._origins.get(f"block{number}_conv{which}")
                if origin is None or isinstance(origin, keras.layers.DepthwiseConv2D) != layer.depthwise:
                    return number - 1
        return depth

    def _channels(self, spec: NetworkSpec, depth: int) -> list[int]:
        names = [STEM_CONV]
        for number in range(1, depth + 1):
            names += [f"block{number}_conv{which}" for which, _ in enumerate(spec.convolutions(number), start=1)]
        return [self._origins[name].output.shape[-1] for name in names]

    def _width(self, spec: NetworkSpec) -> int | None:
        """The width of the start, where it is one of this backbone from which nothing was pruned."""
        depth = self._blocks_of_same_kind(spec)
        found = self._channels(spec, depth)
        whole = (dataclasses.replace(spec, width=width, inner=(), stream=()) for width in range(1, MOST_WIDTH + 1))
        return next((each.width for each in whole if depth and _channels(each, depth) == found), None)

    def _fits(self, layer: keras.layers.Layer) -> bool:
        shapes = [tuple(weight.shape) for weight in layer.weights]
        return [values.shape for values in self._weights_for(layer)] == shapes

    def _weights_for(self, layer: keras.layers.Layer) -> list[np.ndarray]:
        """What a layer of the new network would get; nothing where the start has no such layer."""
        origin = self._origins.get(layer.name)
        if origin is None:
            return []
        weights = origin.get_weights()
        if layer.name != STEM_CONV:
            return weights
        kernel, *others = weights
        how = self._stem(layer)
        if how == SUMMED:
            kernel = kernel.sum(axis=2, keepdims=True)
        elif how == REPEATED:
            kernel = np.repeat(kernel, 3, axis=2) / 3
        return [kernel, *others]

    def _stem(self, layer: keras.layers.Layer) -> str:
        """How the filters of the start's stem become those of this one."""
        there, wanted = (each.kernel.shape[2] for each in (self._origins[STEM_CONV], layer))
        return {(3, 1): SUMMED, (1, 3): REPEATED}.get((there, wanted), AS_IT_WAS)

    def _refusal(self, network: keras.Model, spec: NetworkSpec, unfit: keras.layers.Layer) -> str:
        origin = self._origins.get(unfit.name)
        there = "missing" if origin is None else f"of {tuple(origin.weights[0].shape)}"
        width = self._width(spec)
        hint = f"give width {width}, that of the start" if width not in (None, spec.width) else "give another start"
        return (
            f"no block of the start {network.name} fits {spec.name} of width {spec.width} for images of "
            f"{spec.input_shape[2]} channels: the weights of its {unfit.name} are {there}, not of "
            f"{tuple(unfit.weights[0].shape)}; {hint}"
        )


def _body(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers with weights of stem and blocks: all but the heads."""
    return (layer for layer in network.layers if layer.weights and not isinstance(layer, keras.layers.Dense))


def _channels(spec: NetworkSpec, depth: int) -> list[int]:
    """Output channels of the stem and of every convolution of the blocks."""
    layers: list[Any] = [spec.stem()]
    for number in range(1, depth + 1):
        layers += spec.convolutions(number)
    return [layer.channels for layer in layers]
