"""Quantisation-aware training: fine-tunes a trained network under the arithmetic of its int8 file and exports it.

tensorflow-model-optimization (tfmot) simulates that arithmetic. It takes networks of Keras 2 (`tf_keras`) only, so the
network gets a twin there. Both versions of Keras live in one process.
"""

import dataclasses
import importlib.util
import os

import keras
import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.deploy.convert import tensorflow_process
from odn_keras.deploy.convert.exportable import exportable, unwrapped
from odn_keras.deploy.convert.fidelity import CHECKED_IMAGES, Reference
from odn_keras.deploy.convert.keras2_twin import build_twin, check_layers, keras2_in_float32
from odn_keras.deploy.convert.quantized_training import Split, Tuning, convert_quantized, fine_tune, quantize
from odn_keras.deploy.convert.tflite import (
    CALIBRATION_IMAGES,
    INTEGER_TYPES,
    calibration_samples,
    input_of,
    write_checked,
)
from odn_keras.errors import InputError
from odn_keras.quiet import quiet

BATCH_SIZE = 128  # images of a training step


def export_qat(
    network: keras.Model,
    train: Split,
    validation: Split,
    path: str | os.PathLike[str],
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
    _check_choices(epochs, learning_rate, integer_type)
    copy = exportable(network)
    check_layers(copy)
    train, validation = _checked(copy, train, "training"), _checked(copy, validation, "validation")
    if not 1 <= batch_size <= len(train[1]):
        raise InputError(f"batch_size must be from 1 to {len(train[1])}, the training images, got {batch_size}")
    shown = train[0][:CHECKED_IMAGES]
    reference = Reference.of(unwrapped(network), shown)
    tuning = Tuning(epochs, learning_rate, batch_size, seed=seed, verbose=verbose)
    content, before, simulated = tensorflow_process.call(
        _tune_and_convert, copy, train, validation, tuning, integer_type
    )
    reference.check_copy([before])
    tuned = dataclasses.replace(reference, answers=[simulated])
    return write_checked(content, path, tuned, quantize="qat", copy=copy, images=shown)


def _check_choices(epochs: int, learning_rate: float, integer_type: str) -> None:
    if integer_type not in INTEGER_TYPES:
        raise InputError(f"integer_type must be one of {', '.join(INTEGER_TYPES)}, got {integer_type!r}")
    if epochs < 1 or learning_rate <= 0:
        raise InputError(f"epochs must be at least 1 and learning_rate above 0, got {epochs} and {learning_rate}")
    for package in ("tensorflow_model_optimization", "tf_keras"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"quantisation-aware training needs {package}: pip install 'odn_keras[qat]'")


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
    network: keras.Model, train: Split, validation: Split, tuning: Tuning, integer_type: str
) -> tuple[bytes, np.ndarray, np.ndarray]:
    """The file's content, and for the first training images the answers before training and those simulated after."""
    _, rescaling = input_of(network, train[0][:CALIBRATION_IMAGES], "training")

    def prepare(images: np.ndarray) -> np.ndarray:
        images = images.astype(np.float32)
        return images * rescaling.scale + rescaling.offset if rescaling else images

    with keras2_in_float32(), quiet():
        samples = np.concatenate([image for (image,) in calibration_samples(train[0][:CALIBRATION_IMAGES], rescaling)])
        twin, shown = build_twin(network), prepare(train[0][:CHECKED_IMAGES])
        before = twin.predict_on_batch(shown)
        quantized = quantize(twin, samples)
    batches = Batches(train, network.output_shape[-1], tuning.batch_size, seed=tuning.seed)
    with keras2_in_float32():
        fine_tune(quantized, batches, validation, prepare=prepare, tuning=tuning)
    with keras2_in_float32(), quiet():
        return convert_quantized(quantized, integer_type), before, quantized.predict_on_batch(shown)
