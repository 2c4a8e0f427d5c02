"""The compact network: without the channels that are zero throughout, which computes the same."""

import keras
import numpy as np
from keras import layers

from odn_keras.errors import InputError
from odn_keras.prune.groups import WRITERS, ChannelGroup, groups_by_tensor, inputs_of


def compact(network: keras.Model) -> keras.Model:
    """Leaves out every channel that is zero wherever it is read.

    Args:
        network: functional, of the layers that `odn_keras.build` uses; left unchanged.

    Returns:
        A plain functional network of the same layers by the same names, with fewer channels; its outputs are the same
        but for rounding. At least one channel is left of each group. `odn_keras.spec_of` returns its architecture.

    Raises:
        InputError: where no channel is zero, or for a layer that there is no rule for.

    >>> import numpy as np
    >>> from odn_keras import NetworkSpec, build
    >>> network = build(NetworkSpec("resnet18", (8, 8, 1), num_classes=2, width=4), depth=1)
    >>> scale, offset, *statistics = network.get_layer("block1_bn1").get_weights()
    >>> scale[1:3] = offset[1:3] = 0
    >>> network.get_layer("block1_bn1").set_weights([scale, offset, *statistics])
    >>> compact(network).get_layer("block1_conv1").filters
    2
    """
    groups = groups_by_tensor(network)
    kept = _kept_channels(network, groups)
    if not _leaves_out(kept):
        raise InputError("no channel of the network is zero throughout: prune it first, with ChannelPruning")

    def smaller(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, WRITERS):
            config["units" if isinstance(layer, layers.Dense) else "filters"] = len(kept[groups[id(layer.output)]])
        return type(layer).from_config(config)

    small = keras.models.clone_model(network, clone_function=smaller)
    for layer in network.layers:
        if layer.weights:
            out = kept[groups[id(layer.output)]]
            into = kept[groups[id(inputs_of(layer)[0])]]
            small.get_layer(layer.name).set_weights([_kept(layer, values, into, out) for values in layer.get_weights()])
    return small


def _kept(layer: keras.layers.Layer, values: np.ndarray, into: np.ndarray, out: np.ndarray) -> np.ndarray:
    """A layer's weights for those channels of its input and its output."""
    if values.ndim == 1:
        return values[out]
    if isinstance(layer, layers.DepthwiseConv2D):
        return values[:, :, out]
    return values[..., into, :][..., out]


def removable(network: keras.Model) -> bool:
    """Whether there is any channel that `compact` would leave out."""
    return _leaves_out(_kept_channels(network, groups_by_tensor(network)))


def _leaves_out(kept: dict[ChannelGroup, np.ndarray]) -> bool:
    return any(len(channels) < group.size for group, channels in kept.items())


def _kept_channels(network: keras.Model, groups: dict[int, ChannelGroup]) -> dict[ChannelGroup, np.ndarray]:
    """For every group the channels that are not zero wherever they are read."""
    silent = _silent(network)
    kept = {}
    for group in set(groups.values()):
        read = [silent[id(inputs_of(reader)[0])] for reader in group.readers]
        removable = np.all(read, axis=0) if read and not group.fixed else np.zeros(group.size, bool)
        kept[group] = np.flatnonzero(~removable)
        if not len(kept[group]):
            kept[group] = np.array([0])
    return kept


def _silent(network: keras.Model) -> dict[int, np.ndarray]:
    """For every tensor, by its `id`, which channels are known to be zero whatever the image."""
    found = {id(tensor): np.zeros(tensor.shape[-1], bool) for tensor in network.inputs}
    for layer in network.operations:
        if isinstance(layer, layers.InputLayer):
            continue
        inputs = [found[id(tensor)] for tensor in inputs_of(layer)]
        if isinstance(layer, layers.Rescaling):
            silent = np.zeros_like(inputs[0])
        elif isinstance(layer, (*WRITERS, layers.BatchNormalization, layers.DepthwiseConv2D)) and layer.weights:
            silent = _writes_zero(layer, inputs[0])
        else:
            silent = np.all(inputs, axis=0)
        found[id(layer.output)] = silent
    return found


def _writes_zero(layer: keras.layers.Layer, silent: np.ndarray) -> np.ndarray:
    weights = layer.get_weights()
    if isinstance(layer, layers.BatchNormalization):
        return np.all([values == 0 for values in weights[: layer.scale + layer.center]], axis=0)
    kernel, *bias = weights
    if isinstance(layer, layers.DepthwiseConv2D):
        no_bias = np.all([values == 0 for values in bias] or True, axis=0)
        return (silent | np.all(kernel == 0, axis=(0, 1, 3))) & no_bias
    read = kernel.reshape(-1, *kernel.shape[-2:])[:, ~silent]
    return np.all(read == 0, axis=(0, 1)) & np.all([values == 0 for values in bias] or True, axis=0)
