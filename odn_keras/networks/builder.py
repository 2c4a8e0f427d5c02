"""Spec and depth -> a plain functional `keras.Model`; a model -> the same model one block deeper.

Layers are named by their place (`stem_conv`, `block3_conv1`, `head`, ...), and weights travel between networks by
these names.
"""

import dataclasses
import os
import re
import warnings
from typing import Any

import keras
import numpy as np
from keras import layers

from odn_keras.errors import InputError
from odn_keras.networks import copying
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.blocks import Layer
from odn_keras.networks.elastic import ElasticWidth
from odn_keras.networks.normalization import BatchNormalization

HEAD = "head"
EXIT = "block{}_exit"  # the head at an inner depth


def build(spec: NetworkSpec, depth: int, dtype: str | None = None, *, elastic: bool = False) -> keras.Model:
    """Builds the network of the given depth.

    Args:
        spec: the architecture.
        depth: number of residual blocks, 1 to `spec.max_depth`.
        dtype: a Keras dtype policy such as `"mixed_bfloat16"`; default: the global one.
        elastic: whether the blocks' inner layers can leave channels out (see `odn_keras.networks.elastic`).

    Returns:
        A functional model: images of shape (batch, *spec.input_shape) -> class probabilities (batch, num_classes),
        always float32. With `spec.exits` before its end it has a list of such outputs, the shallowest first.

    Raises:
        InputError: where the backbone has no such depth.

    >>> spec = NetworkSpec("resnet18", input_shape=(28, 28, 1), num_classes=10)
    >>> build(spec, depth=2).count_params()
    149962
    """
    spec.check_depth(depth)
    dtype = dtype or keras.config.dtype_policy().name
    inputs = keras.Input(spec.input_shape, name="image", dtype="float32")
    x = layers.Rescaling(spec.input_scale, name="rescaling", dtype=dtype)(inputs)
    x = _convolve(x, spec.stem(), place="stem", dtype=dtype)
    x = _activate(x, spec.stem().activation, "stem_relu", dtype)
    exits = []
    for index in range(1, depth + 1):
        x = _block(x, spec, index, dtype=dtype, elastic=elastic)
        if index in spec.exits_before(depth):
            exits.append(
                _classify(x, spec.num_classes, pool=f"block{index}_exit_pool", head=EXIT.format(index), dtype=dtype)
            )
    end = _classify(x, spec.num_classes, pool="pool", head=HEAD, dtype=dtype)
    return keras.Model(inputs, [*exits, end] if exits else end, name=f"{_layer_name(spec.name)}_depth{depth}")


def load(path: str | os.PathLike[str]) -> keras.Model:
    """Loads the network of a `.keras` file, whichever backend saved it, without optimizer.

    Keras's safe mode: no code that the file may hold is run.

    Raises:
        InputError: where there is no such file, or it cannot be read.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise InputError(f"no such file: {path}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping")  # a layer whose weights the file lacks
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of Keras, zipfile, json or HDF5
        reason = str(error).strip().splitlines()
        if reason and "Could not locate" in reason[0]:
            raise InputError(
                f"{path} holds a class or function of its own ({reason[0].split('. ')[0]}): only Python code that has "
                "imported it can load the network; export from there, with odn_keras.export_tflite"
            ) from error
        raise InputError(f"{path} is not a readable .keras file ({reason[0][:200] if reason else error!r})") from error


def deepen(
    network: keras.Model, spec: NetworkSpec, *, freeze_prefix: bool = True, carried_share: float = 1.0
) -> tuple[keras.Model, list[str]]:
    """Builds the network one block deeper and carries every weight over that has a place there.

    Args:
        network: a network made by `build` from the same spec, left unchanged.
        spec: the architecture.
        freeze_prefix: whether stem and earlier blocks are frozen: not trained, BatchNorm in inference mode.
        carried_share: of each weight, from 0 to 1; the rest of it is that of a fresh network. Moving statistics are
            carried over as they are.

    Returns:
        The deeper network, and the names of its layers that start fresh: those of the new block, and the head where
        its input is wider than before.

    Raises:
        InputError: where the backbone ends here, or for a share out of range.
    """
    if not 0 <= carried_share <= 1:
        raise InputError(f"carried_share must be from 0 to 1, got {carried_share}")
    depth = depth_of(network)
    deeper = build(spec, depth + 1, dtype=network.get_layer("stem_conv").dtype_policy.name)
    fresh = transfer_weights(network, deeper, carried_share)
    exit_name = EXIT.format(depth)
    if exit_name in fresh:  # where the network ended before
        exit_layer = deeper.get_layer(exit_name)
        exit_layer.set_weights(_mixed(network.get_layer(HEAD), exit_layer, carried_share))
        fresh.remove(exit_name)
    set_frozen(deeper, depth if freeze_prefix else None)
    return deeper, fresh


def depth_of(network: keras.Model) -> int:
    """Number of residual blocks of a network made by `build`."""
    return max((block_of(layer.name) for layer in network.layers), default=0)


def block_of(layer_name: str) -> int:
    """The number of the block that a layer of a network made by `build` belongs to, from 1; 0 for stem and head."""
    place = re.match(r"block(\d+)_", layer_name)
    return int(place[1]) if place else 0


def set_frozen(network: keras.Model, depth: int | None) -> None:
    """Freezes the stem and the first `depth` blocks with their exits, thaws the rest; `None` thaws everything.

    A frozen layer is not trained and its BatchNorm uses its moving statistics, also in training. The network must be
    compiled (again) for this to take effect.
    """
    for layer in network.layers:
        in_prefix = layer.name.startswith("stem_") or 0 < block_of(layer.name) <= (depth or 0)
        layer.trainable = depth is None or not in_prefix


def transfer_weights(source: keras.Model, target: keras.Model, share: float = 1.0) -> list[str]:
    """Copies the weights of layers of equal name and shape, BatchNorm statistics included.

    Args:
        source: where they come from.
        target: where they go.
        share: of trainable weights; the rest of them is what `target` had.

    Returns:
        The names of the layers of `target` that have weights and received none.
    """
    origins = {layer.name: layer for layer in source.layers}
    fresh = []
    for layer in target.layers:
        if not layer.weights:
            continue
        origin = origins.get(layer.name)
        if origin and [w.shape for w in origin.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(_mixed(origin, layer, share))
        else:
            fresh.append(layer.name)
    return fresh


def _mixed(origin: keras.Layer, layer: keras.Layer, share: float) -> list[np.ndarray]:
    if share == 1:
        return origin.get_weights()
    pairs = zip(layer.weights, origin.get_weights(), layer.get_weights(), strict=True)
    return [share * old + (1 - share) * new if weight.trainable else old for weight, old, new in pairs]


def spec_of(network: keras.Model, spec: NetworkSpec, depth: int | None = None) -> NetworkSpec:
    """The architecture of a network made by `build`, wherever channels may have been left out of it since.

    Args:
        network: whose layers have the names that `build` gives them.
        spec: what it was built from.
        depth: how many of its blocks count; default: all.

    Returns:
        The spec with the channels that the network has: `build` makes the same network of it, and deeper ones, whose
        further blocks are as in the spec given. That is the same spec where nothing is missing.
    """

    def channels(layer: str) -> int:
        return network.get_layer(layer).output.shape[-1]

    numbers = range(1, (depth_of(network) if depth is None else depth) + 1)
    inner = tuple(tuple(channels(group[0]) for group in inner_layers(spec, number)) for number in numbers)
    begins = [number for number in spec.streams if number <= numbers[-1]]
    stream = tuple(channels(f"block{n}_conv{len(spec.convolutions(n))}" if n else "stem_conv") for n in begins)
    streams = tuple(map(spec.out_channels, begins))
    if inner == tuple(spec.inner_channels(number) for number in numbers) and stream == streams:
        return spec
    return dataclasses.replace(
        spec, inner=(*inner, *spec.inner[len(inner) :]), stream=(*stream, *spec.stream[len(stream) :])
    )


def inner_layers(spec: NetworkSpec, number: int) -> list[list[str]]:
    """For each inner group of channels of a block the names of its convolutions, in order.

    The first writes the channels, depthwise ones hand them on, and the last reads them.
    """
    groups: list[list[str]] = []
    for which, layer in enumerate(spec.convolutions(number), start=1):
        name = f"block{number}_conv{which}"
        if groups:
            groups[-1].append(name)
        if not layer.depthwise:
            groups.append([name])
    return groups[:-1]


def at_exit(network: keras.Model, spec: NetworkSpec, depth: int, dtype: str | None = None) -> keras.Model:
    """The network up to one of its exits, or to its end, cut out: a copy with a single output.

    Args:
        network: a network made by `build` from the spec, left unchanged.
        spec: the architecture.
        depth: of the exit.
        dtype: policy of the copy; default: that of the network.

    Raises:
        InputError: where it has no exit there.
    """
    exits = (*spec.exits_before(depth_of(network)), depth_of(network))
    if depth not in exits:
        raise InputError(f"the network has exits at {', '.join(map(str, exits))}, none at {depth}")
    dtype = dtype or network.get_layer("stem_conv").dtype_policy.name
    shorter = build(dataclasses.replace(spec_of(network, spec), exits=()), depth, dtype)
    transfer_weights(network, shorter)
    if depth != exits[-1]:
        shorter.get_layer(HEAD).set_weights(network.get_layer(EXIT.format(depth)).get_weights())
    return shorter


def with_dtype(network: keras.Model, dtype: str) -> keras.Model:
    """A copy of a functional network in plain Keras layers, under another dtype policy, with equal weights and state.

    Raises:
        InputError: where it cannot be copied (see `odn_keras.networks.copying`).
    """
    return copying.copy(network, dtype)


def _layer_name(text: str) -> str:
    """A name that TensorFlow takes, of any text."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", text)


def _convolve(x: Any, layer: Layer, *, place: str, which: str = "", dtype: str) -> Any:
    """A convolution and its normalization."""
    common: dict[str, Any] = {
        "kernel_size": layer.kernel,
        "strides": layer.stride,
        "padding": "same",
        "use_bias": False,
        "data_format": "channels_last",
        "name": f"{place}_conv{which}",
        "dtype": dtype,
    }
    if layer.depthwise:
        # He's variance 2 / kernel**2: Keras counts the channels, of which each filter reads one, as well.
        initializer = keras.initializers.VarianceScaling(2.0 * layer.channels, "fan_in", "truncated_normal")
        x = layers.DepthwiseConv2D(depthwise_initializer=initializer, **common)(x)
    else:
        x = layers.Conv2D(layer.channels, kernel_initializer="he_normal", **common)(x)
    return BatchNormalization(axis=-1, momentum=0.9, epsilon=1e-5, name=f"{place}_bn{which}", dtype=dtype)(x)


def _activate(x: Any, activation: str | None, name: str, dtype: str) -> Any:
    if activation is None:
        return x
    return layers.ReLU(max_value=6.0 if activation == "relu6" else None, name=name, dtype=dtype)(x)


def _classify(x: Any, classes: int, *, pool: str, head: str, dtype: str) -> Any:
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name=pool, dtype=dtype)(x)
    return layers.Dense(classes, activation="softmax", name=head, dtype="float32")(x)


def _block(x: Any, spec: NetworkSpec, number: int, *, dtype: str, elastic: bool) -> Any:
    place, shortcut = f"block{number}", x
    if projection := spec.projection(number):
        shortcut = _convolve(x, projection, place=f"{place}_shortcut", dtype=dtype)
    read_by = {group[-1]: index for index, group in enumerate(inner_layers(spec, number), start=1)}
    for which, layer in enumerate(spec.convolutions(number), start=1):
        if elastic and (index := read_by.get(f"{place}_conv{which}")):
            x = ElasticWidth(name=f"{place}_elastic{index}", dtype=dtype)(x)
        x = _convolve(x, layer, place=place, which=str(which), dtype=dtype)
        x = _activate(x, layer.activation, f"{place}_relu{which}", dtype)
    if spec.adds(number):
        x = layers.Add(name=f"{place}_add", dtype=dtype)([x, shortcut])
    return _activate(x, spec.blocks[number - 1].activation, f"{place}_relu", dtype)
