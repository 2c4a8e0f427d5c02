"""How much each channel contributes, estimated from the weights and from BatchNorm's statistics of the data.

BatchNorm knows the data: its output has, over the training images, the mean beta and the variance gamma**2 in every
channel. From there mean and variance are carried through the network, as if channels and places were independent:

    convolution   mean' = sum of w * mean,  variance' = sum of w**2 * variance
    ReLU          mean and variance of a rectified normal variable
    addition      means and variances add up

What a channel contributes to a layer that reads it is the variance it brings there (its mean is taken over by the next
BatchNorm or bias), in parts of the whole variance of the tensor that this ends up in: a block that adds little to its
residual stream is cheap to narrow. The formulas are ours; `benchmarks.pruning` compares them with magnitudes.
"""

import keras
import numpy as np
from keras import layers
from scipy.special import ndtr

from odn_keras.prune.groups import ChannelGroup, inputs_of

PIXEL_MEAN, PIXEL_VARIANCE = 127.5, 255**2 / 12  # of evenly distributed pixels; a BatchNorm behind forgets them
TINY = 1e-12

Moments = tuple[np.ndarray, np.ndarray]  # mean and variance of each channel


def saliencies(network: keras.Model, groups: list[ChannelGroup]) -> list[np.ndarray]:
    """What each channel of each group contributes to the layers that read it.

    Args:
        network: as `find_groups` takes it.
        groups: of the network.

    Returns:
        For each group an array of shape (size,), in parts of the variance of what the channels are read for, summed
        over the readers: comparable between groups; 0 for a channel that brings nothing.
    """
    moments = _moments(network)
    found = []
    for group in groups:
        total = np.zeros(group.size)
        for reader in group.readers:
            _, variance = moments[id(inputs_of(reader)[0])]
            kernel = np.asarray(reader.get_weights()[0])
            squares = (kernel**2).reshape(-1, *kernel.shape[-2:]).sum(axis=0)  # (channels in, channels out)
            gain, whole = _what_becomes_of(network, reader, moments)
            total += variance * (squares @ gain) / (whole + TINY)
        found.append(total)
    return found


def _moments(network: keras.Model) -> dict[int, Moments]:
    """Mean and variance of every channel of every tensor, by the tensor's `id`."""
    found: dict[int, Moments] = {}
    for tensor in network.inputs:
        channels = tensor.shape[-1]
        found[id(tensor)] = np.full(channels, PIXEL_MEAN), np.full(channels, PIXEL_VARIANCE)
    for layer in network.operations:
        if not isinstance(layer, layers.InputLayer):
            found[id(layer.output)] = _after(layer, [found[id(tensor)] for tensor in inputs_of(layer)])
    return found


def _after(layer: keras.layers.Layer, inputs: list[Moments]) -> Moments:
    mean, variance = inputs[0]
    if isinstance(layer, layers.Add):
        means, variances = zip(*inputs, strict=True)
        return np.sum(means, axis=0), np.sum(variances, axis=0)
    if isinstance(layer, layers.BatchNormalization):
        gamma, beta = _scale(layer), _offset(layer)
        return beta, gamma**2 * variance / (variance + layer.epsilon)
    if isinstance(layer, (layers.Conv2D, layers.Dense, layers.DepthwiseConv2D)):
        kernel = np.asarray(layer.get_weights()[0], "float64")
        kernel = kernel.reshape(-1, *kernel.shape[-2:])
        if isinstance(layer, layers.DepthwiseConv2D):
            mean, variance = mean * kernel.sum(axis=(0, 2)), variance * (kernel**2).sum(axis=(0, 2))
        else:
            mean, variance = mean @ kernel.sum(axis=0), variance @ (kernel**2).sum(axis=0)
        if layer.use_bias:
            mean = mean + np.asarray(layer.get_weights()[1])
        return _rectified(mean, variance) if layer.activation.__name__ == "relu" else (mean, variance)
    if isinstance(layer, layers.ReLU):
        return _rectified(mean, variance)
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return mean, variance / np.prod(layer.input.shape[1:3])
    scale = np.asarray(layer.scale)  # Rescaling
    return mean * scale + layer.offset, variance * scale**2


def _rectified(mean: np.ndarray, variance: np.ndarray) -> Moments:
    """Of max(0, z) for a normal z."""
    deviation = np.sqrt(np.maximum(variance, TINY))
    ratio = mean / deviation
    above, density = ndtr(ratio), np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi)
    first = mean * above + deviation * density
    second = (mean**2 + deviation**2) * above + mean * deviation * density
    silent = variance <= 0
    return (
        np.where(silent, np.maximum(mean, 0), first),
        np.where(silent, 0, np.maximum(second - first**2, 0)),
    )


def _what_becomes_of(network: keras.Model, reader: keras.layers.Layer, moments: dict[int, Moments]):
    """What the variance of each output channel is multiplied by, and the whole variance where it ends up.

    Through the BatchNorm behind the layer and on into an addition.
    """
    tensor, gain = reader.output, np.ones(reader.output.shape[-1])
    for layer in network.operations:  # in the order of the network
        if isinstance(layer, layers.InputLayer) or not any(one is tensor for one in inputs_of(layer)):
            continue
        if isinstance(layer, layers.BatchNormalization):
            _, variance = moments[id(tensor)]
            gain = gain * _scale(layer) ** 2 / (variance + layer.epsilon)
        elif not isinstance(layer, layers.Add):
            break
        tensor = layer.output
    return gain, moments[id(tensor)][1].sum()


def _scale(norm: keras.layers.BatchNormalization) -> np.ndarray:
    return np.asarray(norm.get_weights()[0], "float64") if norm.scale else np.ones(norm.output.shape[-1])


def _offset(norm: keras.layers.BatchNormalization) -> np.ndarray:
    return np.asarray(norm.get_weights()[norm.scale], "float64") if norm.center else np.zeros(norm.output.shape[-1])
