"""Trains a network of Keras 2 under tensorflow-model-optimization's simulated int8 arithmetic, and converts it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.data.disk_images import Images
from odn_keras.deploy.convert.keras2_twin import Keras2Model
from odn_keras.deploy.convert.tflite import check_no_floats
from odn_keras.deploy.tflite_file.flatbuffer import strip_tensor_names
from odn_keras.errors import InputError

INFERENCE_BATCH = 100
KERNELS = ("kernel", "depthwise_kernel")  # as Keras names them
SMALLEST_CHANNEL = 1e-3  # range of a channel's weights, by that of the layer's

Split = tuple[Images, np.ndarray]


@dataclass(frozen=True)
class Tuning:
    """Settings of fine-tuning under int8 arithmetic.

    Attributes:
        epochs: number of epochs.
        learning_rate: of Adam, at the start; it falls to 0 along a cosine.
        batch_size: images of a training step.
        seed: of the shuffling.
        verbose: 1 prints a line an epoch, 0 nothing.
    """

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    verbose: int


def quantize(twin: Keras2Model, samples: np.ndarray) -> Keras2Model:
    """Wraps the twin in tfmot's simulated quantisation, with the activations' ranges measured on samples.

    tfmot itself starts every range at -6 to 6 and moves it by a thousandth a step: a short fine-tuning would end with
    wrong ranges.

    Raises:
        InputError: where tfmot cannot quantise the network.
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
        maxima = (name.removesuffix("_max") for name in variables if name.endswith("_max"))
        for name in (name for name in maxima if name not in KERNELS):
            # the layer that tfmot puts behind the input bears no name of the twin's
            low, high = ranges.get(layer.name.removeprefix("quant_"), ranges[twin.layers[0].name])
            variables[f"{name}_min"].assign(low)
            variables[f"{name}_max"].assign(high)
    return quantized


def _fit_kernel_ranges(quantized: Keras2Model) -> None:
    """Sets the ranges of the kernels to their present extremes: in training tfmot sets them before the weights move.

    A channel whose weights are (almost) zero gets a wider range. Otherwise its bias, whose unit is that of the weights,
    would not fit into 32 bits in the file.
    """
    for variables in map(_variables, quantized.layers):
        for name in (name for name in KERNELS if f"{name}_max" in variables):
            kernel = np.abs(variables[name])
            bound = kernel.max(axis=tuple(range(kernel.ndim - variables[f"{name}_max"].shape.rank)))
            bound = np.maximum(bound, SMALLEST_CHANNEL * (kernel.max() or 1.0))
            variables[f"{name}_min"].assign(-bound)
            variables[f"{name}_max"].assign(bound)


def _variables(layer) -> dict[str, Any]:
    """The variables of a layer by the last part of their names."""
    return {variable.name.split("/")[-1].removesuffix(":0"): variable for variable in layer.weights}


def _output_ranges(twin: Keras2Model, samples: np.ndarray) -> dict[str, tuple[float, float]]:
    """The least and the greatest output of every layer over the samples and 0."""
    import tensorflow as tf
    import tf_keras

    extremes = [tf.stack([tf.reduce_min(layer.output), tf.reduce_max(layer.output)]) for layer in twin.layers]
    watch = tf_keras.Model(twin.input, tf.stack(extremes))
    parts = range(0, len(samples), INFERENCE_BATCH)
    found = np.stack([watch.predict_on_batch(samples[start : start + INFERENCE_BATCH]) for start in parts])
    lows, highs = found[..., 0].min(axis=0, initial=0), found[..., 1].max(axis=0, initial=0)
    return {layer.name: (low, high) for layer, low, high in zip(twin.layers, lows, highs, strict=True)}


def fine_tune(
    quantized: Keras2Model,
    batches: Batches,
    validation: Split,
    prepare: Callable[[np.ndarray], np.ndarray],
    tuning: Tuning,
) -> None:
    """Trains the network, and leaves it with the weights that were best on the validation images.

    Args:
        quantized: made by `quantize`.
        batches: training images.
        validation: images to choose the epoch by, and their labels.
        prepare: pixels -> what the network takes.
        tuning: how to train.
    """
    import tf_keras

    def show(text: str) -> None:
        if tuning.verbose:
            print(f"quantisation-aware training: {text}", flush=True)

    def accuracy_now() -> float:
        _fit_kernel_ranges(quantized)
        return _accuracy(quantized, validation, prepare)

    schedule = tf_keras.optimizers.schedules.CosineDecay(tuning.learning_rate, tuning.epochs * len(batches))
    quantized.compile(tf_keras.optimizers.Adam(schedule), "categorical_crossentropy")
    best, best_epoch, best_weights = accuracy_now(), 0, quantized.get_weights()
    show(f"before, validation accuracy {best:.4f}")
    for epoch in range(1, tuning.epochs + 1):
        loss = _train_epoch(quantized, batches, prepare)
        accuracy = accuracy_now()
        show(f"epoch {epoch} of {tuning.epochs}, loss {loss:.4f}, validation accuracy {accuracy:.4f}")
        if accuracy > best:
            best, best_epoch, best_weights = accuracy, epoch, quantized.get_weights()
    quantized.set_weights(best_weights)
    show(f"exports epoch {best_epoch}, validation accuracy {best:.4f}")


def _train_epoch(quantized: Keras2Model, batches: Batches, prepare: Callable[[np.ndarray], np.ndarray]) -> float:
    """Trains on every batch once; returns the mean loss."""
    losses = []
    for step in range(len(batches)):
        images, targets = batches[step]
        losses.append(quantized.train_on_batch(prepare(images), targets))
    batches.on_epoch_end()
    return float(np.mean(losses))


def _accuracy(quantized: Keras2Model, split: Split, prepare: Callable[[np.ndarray], np.ndarray]) -> float:
    images, labels = split
    parts = range(0, len(labels), INFERENCE_BATCH)
    inputs = (prepare(images[start : start + INFERENCE_BATCH]) for start in parts)
    found = np.concatenate([quantized.predict_on_batch(part).argmax(axis=-1) for part in inputs])
    return float(np.mean(found == labels))


def convert_quantized(quantized: Keras2Model, integer_type: str) -> bytes:
    """The content of the int8 file; `integer_type` is that of its input and output."""
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
