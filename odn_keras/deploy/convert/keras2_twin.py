"""A network's twin in Keras 2 (`tf_keras`), for tensorflow-model-optimization: layer by layer, of equal weights."""

import contextlib
from typing import Any

import keras

from odn_keras.deploy.convert.tflite import without_rescaling
from odn_keras.errors import InputError
from odn_keras.networks.normalization import BatchNormalization

NORMALIZATION = ("axis", "momentum", "epsilon", "center", "scale")

# The layers that have a twin, and the arguments that it takes over.
TWINS: dict[type, tuple[str, ...]] = {
    keras.layers.Conv2D: (
        *("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
        *("data_format", "use_bias", "activation"),
    ),
    keras.layers.DepthwiseConv2D: (
        *("kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier"),
        *("data_format", "use_bias", "activation"),
    ),
    keras.layers.BatchNormalization: NORMALIZATION,
    BatchNormalization: NORMALIZATION,
    keras.layers.ReLU: ("max_value", "negative_slope", "threshold"),
    keras.layers.Add: (),
    keras.layers.GlobalAveragePooling2D: ("data_format", "keepdims"),
    keras.layers.Dense: ("units", "use_bias", "activation"),
}
ACTIVATIONS = ("linear", "relu", "softmax")

Keras2Model = Any  # a tf_keras.Model, whose package is imported only where it is used


def check_layers(network: keras.Model) -> None:
    """Checks that every layer of a network made by `exportable` has a twin.

    Raises:
        InputError: where one has none; it names the first.
    """
    _, rescaling = without_rescaling(network)
    calls = {layer["name"]: len(layer["inbound_nodes"]) for layer in network.get_config()["layers"]}
    for layer in network.operations[1:]:
        kind = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
        what = f"{kind} {layer.name!r} of type {type(layer).__name__}"
        if layer is rescaling:
            continue
        if type(layer) not in TWINS:
            known = ", ".join(dict.fromkeys(layer_type.__name__ for layer_type in TWINS))
            raise InputError(
                f"{what} cannot be trained quantisation-aware: only the layers {known}, "
                "and first a Rescaling to 0..1 or -1..1"
            )
        if calls[layer.name] > 1:
            raise InputError(f"{what} is called {calls[layer.name]} times: give every call a layer of its own")
        activation = layer.get_config().get("activation", "linear")
        if activation not in ACTIVATIONS:
            raise InputError(f"{what} has activation {activation!r}: only {', '.join(ACTIVATIONS)} can be trained")


@contextlib.contextmanager
def keras2_in_float32():
    """Context manager: sets the global float type of Keras 2, which the layers of tfmot take, to float32."""
    import tf_keras

    floatx = tf_keras.backend.floatx()
    tf_keras.backend.set_floatx("float32")
    try:
        yield
    finally:
        tf_keras.backend.set_floatx(floatx)


def build_twin(network: keras.Model) -> Keras2Model:
    """Builds the network in Keras 2, with equal weights.

    A leading `Rescaling` is left out: the twin takes what that layer returns. A softmax becomes a layer of its own, so
    that every tensor that is quantised is a layer's output.
    """
    import tf_keras

    _, rescaling = without_rescaling(network)
    inputs = tf_keras.Input(network.input_shape[1:], name=network.operations[0].name, dtype="float32")
    tensors = {id(network.input): inputs}
    for layer in network.operations[1:]:
        outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], layer.input)
        if layer is not rescaling:
            config = {key: layer.get_config()[key] for key in ("name", *TWINS[type(layer)])}
            softmax = config.get("activation") == "softmax"
            if softmax:
                config["activation"] = "linear"
            copy = getattr(tf_keras.layers, type(layer).__name__)(**config, dtype="float32")
            outputs = copy(outputs)
            copy.set_weights(layer.get_weights())
            if softmax:
                outputs = tf_keras.layers.Softmax(name=f"{layer.name}_softmax", dtype="float32")(outputs)
        tensors[id(layer.output)] = outputs
    return tf_keras.Model(inputs, tensors[id(network.output)], name=network.name)
