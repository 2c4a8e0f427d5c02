"""The file for Android's task library and the browser: RGB pixels in, names of the classes on board."""

import os
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import numpy as np

from odn_keras.deploy.metadata import with_metadata
from odn_keras.deploy.tflite import export_tflite, exportable
from odn_keras.errors import InputError
from odn_keras.files import replacing


def export_android(
    network: keras.Model,
    calibration_images: np.ndarray,
    labels: Sequence[str],
    path: str | os.PathLike,
    *,
    name: str = "classifier",
    description: str = "An image classifier of odn_keras.",
) -> int:
    """Converts a network to a fully-integer `.tflite` file that MediaPipe's `ImageClassifier` takes.

    Its input is uint8 and has three channels; that of a grey network takes their mean. The weights are the network's:
    nothing is trained again.

    Args:
        network: a functional classifier of one image input with 1 or 3 channels, whose first layer with weights is a
            convolution.
        calibration_images: as `export_tflite` takes them.
        labels: the name of each class, in the order of the outputs.
        path: the file to write.
        name, description: of the model, for people.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: as `export_tflite` does, or where the labels do not match the outputs.
    """
    if len(labels) != network.output_shape[-1]:
        raise InputError(f"the network has {network.output_shape[-1]} outputs, got {len(labels)} labels")
    if network.input_shape[-1] not in (1, 3):
        raise InputError(
            f"Android's library wants grey or RGB images, the network takes {network.input_shape[-1]} channels"
        )
    if network.input_shape[-1] == 1:
        network = with_rgb_input(network)
        calibration_images = np.repeat(calibration_images, 3, axis=-1)
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder, "model.tflite")
        export_tflite(network, calibration_images, plain, integer_type="uint8")
        content = with_metadata(plain.read_bytes(), labels, name=name, description=description)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


def with_rgb_input(network: keras.Model) -> keras.Model:
    """The same network for images of three channels, of which it takes the mean: each has a third of the weights.

    Raises:
        InputError: where the first layer with weights is no convolution of one channel.
    """
    network = exportable(network)
    first = next(layer for layer in network.layers if layer.weights)
    if not isinstance(first, keras.layers.Conv2D) or first.kernel.shape[2] != 1:
        raise InputError(
            f"for Android's file the network must begin with a Conv2D of one channel, not with {first.name!r}: "
            "leave the target android out"
        )
    image = keras.Input((*network.input_shape[1:-1], 3), name="image")
    copy = keras.models.clone_model(network, input_tensors=image)
    for layer in network.layers:
        kernel, *others = layer.get_weights() or [None]
        if layer is first:
            kernel = np.repeat(kernel, 3, axis=2) / 3
        if kernel is not None:
            copy.get_layer(layer.name).set_weights([kernel, *others])
    return copy
