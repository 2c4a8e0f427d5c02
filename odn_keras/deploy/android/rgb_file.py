"""The file for Android's task library and the browser: it takes RGB pixels and contains the names of the classes."""

import os
from collections.abc import Sequence

import keras
import numpy as np

from odn_keras.deploy.convert.exportable import exportable, unwrapped
from odn_keras.deploy.convert.fidelity import Reference
from odn_keras.deploy.convert.tflite import checked_images, convert, without_rescaling, write_checked
from odn_keras.deploy.tflite_file.metadata import with_metadata
from odn_keras.errors import InputError

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a grey pixel (ITU-R BT.601), as Pillow and TensorFlow have it


def export_android(
    network: keras.Model,
    calibration_images: np.ndarray,
    labels: Sequence[str],
    path: str | os.PathLike[str],
    *,
    name: str = "classifier",
    description: str = "An image classifier of odn_keras.",
) -> int:
    """Converts a network to a fully-integer `.tflite` file that MediaPipe's `ImageClassifier` takes.

    Its input is uint8 and has three channels; a grey network sees the luma of a colour image, as in training. The
    weights are the network's: nothing is trained again. The file is checked as by `export_tflite`.

    Args:
        network: as `export_tflite` takes it, of images with 1 or 3 channels.
        calibration_images: as `export_tflite` takes them.
        labels: the name of each class, in the order of the outputs.
        path: the file to write.
        name: of the model, for people.
        description: of the model, for people.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: as `export_tflite` does, or where the labels do not match the outputs.
    """
    copy = exportable(network)
    if len(labels) != copy.output_shape[-1]:
        raise InputError(f"the network has {copy.output_shape[-1]} outputs, got {len(labels)} labels")
    if copy.input_shape[-1] not in (1, 3):
        raise InputError(
            f"Android's library wants grey or RGB images, the network takes {copy.input_shape[-1]} channels"
        )
    images = checked_images(calibration_images, copy.input_shape[1:])
    reference = Reference.of(unwrapped(network), images)
    if copy.input_shape[-1] == 1:
        copy, images = with_rgb_input(copy), np.repeat(images, 3, axis=-1)
    content = convert(copy, images, reference, quantize="int8", integer_type="uint8")
    probabilities = reference.are_probabilities
    content = with_metadata(content, labels, name=name, description=description, probabilities=probabilities)
    return write_checked(content, path, reference, quantize="int8", copy=copy, images=images)


def with_rgb_input(network: keras.Model) -> keras.Model:
    """A copy for images of three channels, of which the network takes the luma.

    The channels are weighted in a convolution of one pixel in front of the network, behind a leading `Rescaling`.
    """
    rest, rescaling = without_rescaling(exportable(network))
    image = keras.Input((*rest.input_shape[1:-1], len(LUMA)), name="image", dtype="float32")
    grey = keras.layers.Conv2D(
        1, 1, use_bias=False, data_format="channels_last", trainable=False, dtype="float32", name="luma"
    )
    scaled = image
    if rescaling:
        scaled = keras.layers.Rescaling(rescaling.scale, rescaling.offset, dtype="float32", name="rgb_rescaling")(image)
    copy = keras.Model(image, rest(grey(scaled)), name=network.name)
    grey.set_weights([np.reshape(np.array(LUMA, np.float32), (1, 1, len(LUMA), 1))])
    return copy
