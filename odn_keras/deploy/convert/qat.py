"""Quantisation-aware training: a trained network is fine-tuned under the arithmetic of its int8 file, then exported.

tensorflow-model-optimization (tfmot) simulates that arithmetic, and takes only networks of Keras 2 (`tf_keras`): the
network gets a twin there, layer by layer. Both Kerases live in one process.
"""

import contextlib
import dataclasses
import importlib.util
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.data.disk_images import Images
from odn_keras.deploy.convert import tensorflow_process
from odn_keras.deploy.convert.exportable import exportable, unwrapped
from odn_keras.deploy.convert.fidelity import CHECKED_IMAGES, Reference
from odn_keras.deploy.convert.tflite import (
    CALIBRATION_IMAGES,
    INTEGER_TYPES,
    calibration_samples,
    check_no_floats,
    input_of,
    without_rescaling,
    write_checked,
)
from odn_keras.deploy.tflite_file.flatbuffer import strip_tensor_names
from odn_keras.errors import InputError
from odn_keras.networks.normalization import BatchNormalization
from odn_keras.quiet import quiet

BATCH_SIZE = 128  # images of a training step
INFERENCE_BATCH = 100
SMALLEST_CHANNEL = 1e-3  # range of a channel's weights, by that of the layer's

NORMALIZATION = ("axis", "momentum", "epsilon", "center", "scale")

# The layers that have a twin, and what it takes over of their configuration.
TWINS: dict[type, tuple[str, ...]] = {
    keras.layers.Conv2D: (
        *("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
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

Split = tuple[Images, np.ndarray]
Keras2Model = Any  # a tf_keras.Model, whose package is imported only where it is used


def export_qat(
    network: keras.Model,
    train: Split,
    validation: Split,
    path: str | os.PathLike,
    *,
    epochs: int = 3,
    learning_rate: float = 1e-3,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
    integer_type: str = "int8",
    verbose: int = 1,
) -> int:
    """Fine-tunes a trained network under int8 quantisation and writes it as `export_tflite` does with `"int8"`.

    The file is of the same kind, operator for operator: pixel p is the int8 number p - 128. Of the states before
    fine-tuning and after each epoch the one is exported that is best on the validation images, in the simulation of
    the int8 file. The network given is left as it is. Where `export_tflite` loses nothing there is nothing to win:
    compare the two files. Two things are checked as in `odn_keras.deploy.convert.fidelity`: that before training the
    twin answers as the network, and that the file answers as the simulation.

    Args:
        network: a functional or sequential classifier of one image input, made of the layers that `odn_keras.build`
            uses, or the `OptimallyDeepNetwork` that holds it.
        train: training images as the network takes them, of shape (n, height, width, channels), and integer labels of
            shape (n,). They are shuffled, not augmented.
        validation: the same, of images to choose by.
        path: the file to write.
        epochs: of fine-tuning.
        learning_rate: of Adam, at the start; it falls to 0 along a cosine.
        batch_size: images of a training step.
        seed: of the shuffling.
        integer_type: of the file's input and output, `"int8"` or `"uint8"`.
        verbose: 1 prints a line an epoch, 0 nothing.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: for a network with other layers, data that do not fit it, weights that are not finite, an option
            out of range, or where TensorFlow, tf_keras or tfmot is missing.
    """
    if integer_type not in INTEGER_TYPES:
        raise InputError(f"integer_type must be one of {', '.join(INTEGER_TYPES)}, got {integer_type!r}")
    if epochs < 1 or learning_rate <= 0:
        raise InputError(f"epochs must be at least 1 and learning_rate above 0, got {epochs} and {learning_rate}")
    for package in ("tensorflow_model_optimization", "tf_keras"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"quantisation-aware training needs {package}: pip install 'odn_keras[qat]'")
    copy = exportable(network)
    check_layers(copy)
    train, validation = _checked(copy, train, "training"), _checked(copy, validation, "validation")
    if not 1 <= batch_size <= len(train[1]):
        raise InputError(f"batch_size must be from 1 to {len(train[1])}, the training images, got {batch_size}")
    shown = train[0][:CHECKED_IMAGES]
    reference = Reference.of(unwrapped(network), shown)
    content, before, simulated = tensorflow_process.call(
        _tune_and_convert, copy, train, validation, epochs, learning_rate, batch_size, seed, integer_type, verbose
    )
    reference.check_copy([before])
    tuned = dataclasses.replace(reference, answers=[simulated])
    return write_checked(content, path, tuned, "qat", copy, shown)


def check_layers(network: keras.Model) -> None:
    """Whether every layer has a twin, of a network made by `exportable`.

    Raises:
        InputError: naming the first that has none.
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


def _checked(network: keras.Model, split: Split, which: str) -> Split:
    images, labels = split[0], np.asarray(split[1])
    shape, classes = network.input_shape[1:], network.output_shape[-1]
    if tuple(images.shape[1:]) != shape or not len(images):
        raise InputError(f"{which} images must be of shape (n, {str(shape)[1:-1]}), got {tuple(images.shape)}")
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{which} labels must be integers of shape ({len(images)},), got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"{which} labels must be from 0 to {classes - 1}, as the network has {classes} classes, "
            f"got {labels.min()} to {labels.max()}"
        )
    input_of(network, images[:CALIBRATION_IMAGES], which)
    on_other_backend = keras.backend.backend() != "tensorflow"  # the data go to another process, as a whole
    return images[:] if on_other_backend else images, labels


def _tune_and_convert(
    network: keras.Model,
    train: Split,
    validation: Split,
    epochs: int,
    learning_rate: float,
    batch_size: int,
    seed: int,
    integer_type: str,
    verbose: int,
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The file's content, and of the first training images the answers before training and those simulated after it."""
    _, rescaling = input_of(network, train[0][:CALIBRATION_IMAGES], "training")

    def prepare(images: np.ndarray) -> np.ndarray:
        images = images.astype(np.float32)
        return images * rescaling.scale + rescaling.offset if rescaling else images

    with _keras2_in_float32(), quiet():
        samples = np.concatenate([image for (image,) in calibration_samples(train[0][:CALIBRATION_IMAGES], rescaling)])
        twin, shown = build_twin(network), prepare(train[0][:CHECKED_IMAGES])
        before = twin.predict_on_batch(shown)
        quantized = _quantize(twin, samples)
    batches = Batches(train, network.output_shape[-1], batch_size, seed)
    with _keras2_in_float32():
        _fine_tune(quantized, batches, validation, prepare, epochs, learning_rate, verbose)
    with _keras2_in_float32(), quiet():
        return _convert(quantized, integer_type), before, quantized.predict_on_batch(shown)


@contextlib.contextmanager
def _keras2_in_float32():
    """Whatever a user's configuration file has made of Keras 2: tfmot's layers take the global type."""
    import tf_keras

    floatx = tf_keras.backend.floatx()
    tf_keras.backend.set_floatx("float32")
    try:
        yield
    finally:
        tf_keras.backend.set_floatx(floatx)


def build_twin(network: keras.Model) -> Keras2Model:
    """The network in Keras 2, with equal weights, without a leading `Rescaling`: it takes what that layer returns.

    A softmax becomes a layer of its own, so that every tensor that is quantised is a layer's output.
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


def _quantize(twin: Keras2Model, samples: np.ndarray) -> Keras2Model:
    """The twin under tfmot's simulated quantisation, the activations' ranges measured on samples.

    By itself tfmot starts every range at -6 to 6 and moves it by a thousandth a step: a short fine-tuning would end
    with wrong ones.
    """
    import tensorflow_model_optimization as tfmot

    try:
        quantized = tfmot.quantization.keras.quantize_model(twin)
    except (RuntimeError, ValueError) as error:  # as for a BatchNormalization behind no Conv2D
        reason = str(error).split(". ")[0]
        raise InputError(f"tensorflow-model-optimization cannot quantise this network: {reason}") from error
    ranges = _output_ranges(twin, samples)
    for layer in quantized.layers:
        variables = _variables(layer)
        for name in (name.removesuffix("_max") for name in variables if name.endswith("_max") and name != "kernel_max"):
            # the layer that tfmot puts behind the input bears no name of the twin's
            low, high = ranges.get(layer.name.removeprefix("quant_"), ranges[twin.layers[0].name])
            variables[f"{name}_min"].assign(low)
            variables[f"{name}_max"].assign(high)
    return quantized


def _fit_kernel_ranges(quantized: Keras2Model) -> None:
    """Sets the ranges of the kernels to what they are now: in training tfmot sets them before the weights move.

    A channel (almost) without weights gets a wider one, or its bias, whose unit is that of the weights, would not fit
    into 32 bits in the file.
    """
    for variables in map(_variables, quantized.layers):
        if "kernel_max" in variables:
            kernel = np.abs(variables["kernel"])
            bound = kernel.max(axis=tuple(range(kernel.ndim - variables["kernel_max"].shape.rank)))
            bound = np.maximum(bound, SMALLEST_CHANNEL * (kernel.max() or 1.0))
            variables["kernel_min"].assign(-bound)
            variables["kernel_max"].assign(bound)


def _variables(layer) -> dict[str, Any]:
    """The variables of a layer by the last part of their names."""
    return {variable.name.split("/")[-1].removesuffix(":0"): variable for variable in layer.weights}


def _output_ranges(twin: Keras2Model, samples: np.ndarray) -> dict[str, tuple[float, float]]:
    """Least and greatest output of every layer over the samples, 0 included."""
    import tensorflow as tf
    import tf_keras

    extremes = [tf.stack([tf.reduce_min(layer.output), tf.reduce_max(layer.output)]) for layer in twin.layers]
    watch = tf_keras.Model(twin.input, tf.stack(extremes))
    parts = range(0, len(samples), INFERENCE_BATCH)
    found = np.stack([watch.predict_on_batch(samples[start : start + INFERENCE_BATCH]) for start in parts])
    lows, highs = found[..., 0].min(axis=0, initial=0), found[..., 1].max(axis=0, initial=0)
    return {layer.name: (low, high) for layer, low, high in zip(twin.layers, lows, highs, strict=True)}


def _fine_tune(
    quantized: Keras2Model,
    batches: Batches,
    validation: Split,
    prepare: Callable[[np.ndarray], np.ndarray],
    epochs: int,
    learning_rate: float,
    verbose: int,
) -> None:
    """Trains, and leaves the network with the weights that were best on the validation images."""
    import tf_keras

    def show(text: str) -> None:
        if verbose:
            print(f"quantisation-aware training: {text}", flush=True)

    def judge() -> float:
        _fit_kernel_ranges(quantized)
        return _accuracy(quantized, validation, prepare)

    schedule = tf_keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    quantized.compile(tf_keras.optimizers.Adam(schedule), "categorical_crossentropy")
    best, best_epoch, best_weights = judge(), 0, quantized.get_weights()
    show(f"before, validation accuracy {best:.4f}")
    for epoch in range(1, epochs + 1):
        losses = []
        for step in range(len(batches)):
            images, targets = batches[step]
            losses.append(quantized.train_on_batch(prepare(images), targets))
        batches.on_epoch_end()
        accuracy = judge()
        show(f"epoch {epoch} of {epochs}, loss {np.mean(losses):.4f}, validation accuracy {accuracy:.4f}")
        if accuracy > best:
            best, best_epoch, best_weights = accuracy, epoch, quantized.get_weights()
    quantized.set_weights(best_weights)
    show(f"exports epoch {best_epoch}, validation accuracy {best:.4f}")


def _accuracy(quantized: Keras2Model, split: Split, prepare: Callable[[np.ndarray], np.ndarray]) -> float:
    images, labels = split
    parts = range(0, len(labels), INFERENCE_BATCH)
    inputs = (prepare(images[start : start + INFERENCE_BATCH]) for start in parts)
    found = np.concatenate([quantized.predict_on_batch(part).argmax(axis=-1) for part in inputs])
    return float(np.mean(found == labels))


def _convert(quantized: Keras2Model, integer_type: str) -> bytes:
    import tensorflow as tf
    import tf_keras

    single = tf_keras.Input(batch_shape=(1, *quantized.input_shape[1:]), name="image", dtype="float32")
    converter = tf.lite.TFLiteConverter.from_keras_model(tf_keras.Model(single, quantized(single)))
    # TFLITE_BUILTINS_INT8 would ask for calibration; the ranges are in the network.
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(integer_type)
    content = converter.convert()
    check_no_floats(content)
    return strip_tensor_names(content)
