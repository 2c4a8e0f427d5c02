"""Channels that can only be removed together, found from the graph of a network.

Layers that work on each channel for itself (BatchNorm, ReLU, pooling, depthwise convolutions) hand the channels on that
they get; additions join those of several tensors. So the tensors of a network fall into sets that have their channels
in common: channel c of such a set is written by every convolution that writes there, and read by every one that reads
there.
"""

from dataclasses import dataclass, field
from typing import NoReturn

import keras
from keras import layers

from odn_keras.errors import InputError

WRITERS = (layers.Conv2D, layers.Dense)  # their output has channels of its own
CHANNELWISE = (
    layers.BatchNormalization,
    layers.DepthwiseConv2D,
    layers.ReLU,
    layers.Rescaling,
    layers.GlobalAveragePooling2D,
)
ACTIVATIONS = ("linear", "relu")  # those that leave zero at zero


@dataclass(eq=False)
class ChannelGroup:
    """The layers that have the same channels.

    Attributes:
        size: number of channels.
        writers: convolutions and dense layers whose output channels they are; several where additions join them.
        norms: BatchNorm layers on the way.
        depthwise: depthwise convolutions on the way.
        readers: convolutions and dense layers whose input channels they are.
        fixed: whether they are the network's inputs or outputs, which nothing can be removed from.
    """

    size: int
    writers: list[keras.layers.Layer] = field(default_factory=list)
    norms: list[keras.layers.Layer] = field(default_factory=list)
    depthwise: list[keras.layers.Layer] = field(default_factory=list)
    readers: list[keras.layers.Layer] = field(default_factory=list)
    fixed: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether additions join several writers: a residual stream, as opposed to the inside of a block."""
        return len(self.writers) > 1


def find_groups(network: keras.Model, *, streams: bool = False) -> list[ChannelGroup]:
    """The groups of channels that can be pruned.

    Args:
        network: functional, of the layers that `odn_keras.build` uses; any number of outputs.
        streams: whether residual streams count, besides the inside of blocks.

    Returns:
        In the order of the network.

    Raises:
        InputError: for a layer that there is no rule for; the first is named.

    >>> from odn_keras import NetworkSpec, build
    >>> network = build(NetworkSpec("resnet18", (28, 28, 1), num_classes=10, width=16), depth=3)
    >>> [group.size for group in find_groups(network)]
    [16, 16, 32]
    >>> [group.size for group in find_groups(network, streams=True)]
    [16, 16, 16, 32, 32]
    """
    return prunable(groups_by_tensor(network), streams=streams)


def prunable(groups: dict[int, ChannelGroup], *, streams: bool) -> list[ChannelGroup]:
    """Those of `groups_by_tensor` that channels may be removed from, each once."""
    return [group for group in dict.fromkeys(groups.values()) if not group.fixed and (streams or not group.is_stream)]


def groups_by_tensor(network: keras.Model) -> dict[int, ChannelGroup]:
    """The group of every tensor of the network, by the tensor's `id`; those of inputs and outputs are `fixed`.

    Raises:
        InputError: for a layer that there is no rule for; the first is named.
    """
    if isinstance(network, keras.Sequential) or not hasattr(network, "operations"):
        raise InputError(f"pruning takes a functional keras.Model, got a {type(network).__name__}")
    groups = {id(tensor): ChannelGroup(tensor.shape[-1], fixed=True) for tensor in network.inputs}
    for layer in network.operations:
        if isinstance(layer, layers.InputLayer):
            continue
        _check(layer)
        try:
            sources = [groups[id(tensor)] for tensor in inputs_of(layer)]
        except KeyError:
            raise InputError(f"pruning has no rule for what layer {layer.name!r} reads: a layer used twice") from None
        if isinstance(layer, WRITERS):
            sources[0].readers.append(layer)
            groups[id(layer.output)] = ChannelGroup(layer.output.shape[-1], [layer])
            continue
        if isinstance(layer, layers.Rescaling) and not sources[0].fixed:
            _refuse(layer, "a place other than the beginning")
        joined = sources[0]
        for other in sources[1:]:
            joined = _joined(joined, other, groups)
        if isinstance(layer, layers.BatchNormalization):
            joined.norms.append(layer)
        if isinstance(layer, layers.DepthwiseConv2D):
            joined.depthwise.append(layer)
        groups[id(layer.output)] = joined
    for tensor in network.outputs:
        groups[id(tensor)].fixed = True
    _check_activations(groups)
    return groups


def inputs_of(layer: keras.layers.Layer) -> list:
    """The tensors that a layer reads."""
    return keras.tree.flatten(layer.input)


def _joined(one: ChannelGroup, other: ChannelGroup, groups: dict[int, ChannelGroup]) -> ChannelGroup:
    """The first, with all that the second has; the second's tensors become the first's."""
    if one is other:
        return one
    for name in ("writers", "norms", "depthwise", "readers"):
        getattr(one, name).extend(getattr(other, name))
    one.fixed = one.fixed or other.fixed
    for tensor, group in groups.items():
        if group is other:
            groups[tensor] = one
    return one


def _check(layer: keras.layers.Layer) -> None:
    """Whether there is a rule for the layer."""
    if not isinstance(layer, (*WRITERS, *CHANNELWISE, layers.Add)):
        raise InputError(f"pruning has no rule for layer {layer.name!r} of type {type(layer).__name__}")
    last = len(layer.output.shape) - 1
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        _refuse(layer, f"data_format {layer.data_format!r}")
    if isinstance(layer, layers.Conv2D) and layer.groups != 1:
        _refuse(layer, f"groups={layer.groups}")
    if isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier != 1:
        _refuse(layer, f"depth_multiplier={layer.depth_multiplier}")
    if isinstance(layer, layers.BatchNormalization) and layer.axis not in (-1, last):
        _refuse(layer, f"axis={layer.axis}")
    if isinstance(layer, layers.BatchNormalization) and not layer.scale:
        _refuse(layer, "scale=False, which lets nothing fade")
    if isinstance(layer, layers.ReLU) and layer.threshold:
        _refuse(layer, f"threshold={layer.threshold}")
    if len({tensor.shape for tensor in inputs_of(layer)}) > 1:
        _refuse(layer, "inputs of several shapes")


def _check_activations(groups: dict[int, ChannelGroup]) -> None:
    for group in groups.values():
        for layer in (*group.writers, *group.depthwise):
            if not group.fixed and layer.activation.__name__ not in ACTIVATIONS:
                _refuse(layer, f"activation {layer.activation.__name__!r}")


def _refuse(layer: keras.layers.Layer, what: str) -> NoReturn:
    raise InputError(f"pruning has no rule for layer {layer.name!r} of type {type(layer).__name__} with {what}")
