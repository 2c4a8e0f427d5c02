"""Smaller networks inside a large one: channels ordered by importance, and what is kept cut out."""

import dataclasses

import keras
import numpy as np

from odn_keras.errors import InputError
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec


def sort_channels(network: keras.Model, spec: NetworkSpec) -> None:
    """Puts the inner channels of every block in the order of their importance, the most important first.

    The network computes what it did. A channel is the more important the larger its output, by the scale and
    offset of its BatchNorm, and the larger the weights that read it.

    Args:
        network: made by `odn_keras.build` from the spec; changed in place.
        spec: the architecture.
    """
    for number in range(1, builder.depth_of(network) + 1):
        for writer, *depthwise, reader in builder.inner_layers(spec, number):
            order = _order(network, [writer, *depthwise][-1], reader)
            _permute_output(network.get_layer(writer), order)
            for name in (writer, *depthwise):
                norm = network.get_layer(_norm_of(name))
                norm.set_weights([values[order] for values in norm.get_weights()])
            for name in (*depthwise, reader):
                layer = network.get_layer(name)
                layer.set_weights([layer.get_weights()[0][:, :, order]])


def cut_out(network: keras.Model, spec: NetworkSpec, depth: int, inner: tuple[tuple[int, ...], ...]) -> keras.Model:
    """The network up to one of its exits, with the first channels only of its blocks' inner layers.

    Args:
        network: made by `odn_keras.build` from the spec, left unchanged.
        spec: the architecture.
        depth: of the exit, or the network's own.
        inner: for each block how many inner channels are kept (see `NetworkSpec.inner`).

    Returns:
        A plain network of one output. Its BatchNorm statistics are those of the large network: see
        `odn_keras.growing.averaging.recalibrate`.

    Raises:
        InputError: where the network has no exit there, or more channels are wanted than there are.
    """
    whole = builder.at_exit(network, spec, depth)
    smaller = dataclasses.replace(spec, exits=(), inner=inner)
    cut = builder.build(smaller, depth, whole.get_layer("stem_conv").dtype_policy.name)
    for layer in cut.layers:
        if layer.weights:
            kept = []
            for values, weight in zip(whole.get_layer(layer.name).get_weights(), layer.weights, strict=True):
                if any(wanted > there for wanted, there in zip(weight.shape, values.shape, strict=True)):
                    raise InputError(f"{layer.name} has weights of {values.shape}, fewer than {tuple(weight.shape)}")
                kept.append(values[tuple(slice(size) for size in weight.shape)])
            layer.set_weights(kept)
    return cut


def _order(network: keras.Model, last: str, reader: str) -> np.ndarray:
    """The channels between two convolutions, the most important first."""
    scale, offset, *_ = network.get_layer(_norm_of(last)).get_weights()
    reads = network.get_layer(reader).get_weights()[0]
    return np.argsort(-np.hypot(scale, offset) * np.abs(reads).sum(axis=(0, 1, 3)), kind="stable")


def _permute_output(layer: keras.layers.Layer, order: np.ndarray) -> None:
    (kernel,) = layer.get_weights()
    layer.set_weights([kernel[..., order]])


def _norm_of(convolution: str) -> str:
    """The name of the normalization behind a convolution of a block."""
    return convolution.replace("_conv", "_bn")
