"""What a network costs: parameters, multiply-accumulates (MACs) and bytes, of inference and of training.

Convolutions and dense layers are counted; what the converter folds or a device does in passing (BatchNorm, ReLU,
additions, pooling) is not.
"""

import math

import keras

from odn_keras.networks.architectures import NetworkSpec


def params(network: keras.Model) -> int:
    """Parameters as the paper counts them: everything trainable, whether frozen at the moment or not.

    That is all weights but BatchNorm's moving statistics.
    """
    return sum(
        math.prod(weight.shape)
        for layer in network.layers
        for weight in layer.weights
        if not (isinstance(layer, keras.layers.BatchNormalization) and "moving_" in weight.path)
    )


def params_of_spec(spec: NetworkSpec, depth: int) -> int:
    """What `params` counts in the network that `odn_keras.build` makes, without building it.

    >>> params_of_spec(NetworkSpec("resnet18", input_shape=(28, 28, 1), num_classes=10), depth=2)
    149322
    """
    spec.check_depth(depth)
    convolutions = [spec.stem()]
    for number in range(1, depth + 1):
        projection = spec.projection(number)
        convolutions += [*spec.convolutions(number), *([projection] if projection else [])]
    heads = (*spec.exits_before(depth), depth)
    return sum((layer.filters.weights + 2) * layer.channels for layer in convolutions) + sum(  # 2: of the normalization
        (spec.out_channels(number) + 1) * spec.num_classes for number in heads
    )


def macs(network: keras.Model) -> int:
    """Multiply-accumulates of one image's forward pass."""
    return sum(_layer_macs(layer) for layer in network.layers)


def macs_per_output(network: keras.Model) -> list[int]:
    """Multiply-accumulates of one image's way to each output, the outputs before it included."""
    return [macs(keras.Model(network.input, network.outputs[: last + 1])) for last in range(len(network.outputs))]


def training_macs(network: keras.Model) -> int:
    """Multiply-accumulates of one image's training step, with the layers frozen as they are.

    A layer costs its forward pass, once more for its weights' gradient if it is trained, and once more for its
    input's gradient if anything before it is trained. A frozen prefix therefore costs a forward pass only.
    """
    total = 0
    needs_gradient: dict[int, bool] = {}  # by tensor: whether anything before it is trained
    for layer in network.layers:
        trained = bool(layer.trainable_weights)
        trained_before = any(needs_gradient.get(id(tensor), False) for tensor in keras.tree.flatten(layer.input))
        needs_gradient[id(layer.output)] = trained or trained_before
        total += (1 + trained + trained_before) * _layer_macs(layer)
    return total


def float_bytes(parameters: int) -> int:
    """Bytes of that many float32 parameters."""
    return 4 * parameters


def _layer_macs(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        height, width = layer.output.shape[1:3]
        return height * width * math.prod(layer.kernel.shape)
    if isinstance(layer, keras.layers.Dense):
        return math.prod(layer.kernel.shape)
    return 0
