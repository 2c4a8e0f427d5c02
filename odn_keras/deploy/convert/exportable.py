"""Checks that a network can be exported, and makes the copy that is converted."""

from typing import Any

import keras
import numpy as np

from odn_keras.errors import InputError
from odn_keras.networks import copying
from odn_keras.networks.builder import with_dtype

NOT_OF_IMAGES = (
    keras.layers.RNN,
    keras.layers.Embedding,
    keras.layers.Discretization,
    keras.layers.Hashing,
    keras.layers.CategoryEncoding,
    keras.layers.HashedCrossing,
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


def unwrapped(network: Any) -> keras.Model:
    """The `keras.Model` itself, where an `OptimallyDeepNetwork` that holds it may have been given.

    Raises:
        InputError: where it is no network of a graph.
    """
    if not isinstance(network, keras.Model):
        network = getattr(network, "network", network)
    sequential = isinstance(network, keras.Sequential)
    if sequential and not network.built:
        raise InputError(f"the Sequential {network.name!r} knows no shape of images: begin it with keras.Input(shape)")
    if not isinstance(network, keras.Model) or not (sequential or hasattr(network, "operations")):
        raise InputError(f"export takes a functional keras.Model or a Sequential, got a {type(network).__name__}")
    return network


def exportable(network: Any, *, with_exits: bool = False) -> keras.Model:
    """A functional copy of the network in float32 and plain Keras layers, of one image tensor and one output tensor.

    Args:
        network: a functional `keras.Model`, a `Sequential`, or the `OptimallyDeepNetwork` that holds one; it is left
            unchanged. One input or output may be in a list or a dict.
        with_exits: whether several outputs are allowed.

    Raises:
        InputError: for weights that are not finite, and for networks that are no graph of layers, have several inputs
            or, unless `with_exits`, outputs, images of no fixed size, channels before height and width, or layers that
            cannot be converted or are not of image classifiers.
    """
    network = unwrapped(network)
    if len(network.inputs) != 1 or (len(network.outputs) != 1 and not with_exits):
        raise InputError(
            "export takes a network of one input and one output, "
            f"this one has {len(network.inputs)} and {len(network.outputs)}"
        )
    shape = tuple(network.inputs[0].shape[1:])
    if len(shape) == 3 and None in shape:
        raise InputError(f"export takes a network for images of one size, this one has an input of {shape}")
    for layer in copying.all_layers(network):
        _check_layer(layer)
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise InputError("the network has weights that are NaN or infinite: it cannot be exported")
    outputs = network.outputs[0] if len(network.outputs) == 1 else network.outputs
    graph = keras.Model(network.inputs[0], outputs, name=network.name)  # no Sequential, list, dict or class of its own
    return with_dtype(graph, "float32")


def _check_layer(layer: keras.layers.Layer) -> None:
    what = f"layer {layer.name!r} of type {type(layer).__name__}"
    if isinstance(layer, NOT_OF_IMAGES):
        raise InputError(f"{what} is not of an image classifier")
    if isinstance(layer, keras.layers.Lambda):
        raise InputError(
            f"{what} holds Python code, which cannot be copied: write its operations into the graph (as x / 255.0), or "
            "make it a layer class"
        )
    if getattr(layer, "data_format", None) == "channels_first":
        raise InputError(f"{what} computes channels_first, export takes channels_last: build it with that data_format")
    if getattr(layer.dtype_policy, "quantization_mode", None):
        raise InputError(f"{what} was quantised by Keras ({layer.dtype_policy.name}): export the float network")
