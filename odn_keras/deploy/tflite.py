"""A trained network -> a `.tflite` file, quantised or not. Needs TensorFlow, whatever backend trained the network."""

import os
import pathlib
from collections.abc import Iterator

import keras
import numpy as np

from odn_keras.builder import with_dtype
from odn_keras.deploy import tensorflow_process
from odn_keras.deploy.memory import compact
from odn_keras.errors import InputError
from odn_keras.files import replacing
from odn_keras.quiet import quiet

MIN_CALIBRATION_IMAGES = 100
CALIBRATION_IMAGES = 1000  # what the commands take
QUANTIZATIONS = ("int8", "float16", "dynamic", "none")
INTEGER_TYPES = ("int8", "uint8")


def export_tflite(
    network: keras.Model,
    calibration_images: np.ndarray | None,
    path: str | os.PathLike,
    *,
    quantize: str = "int8",
    integer_type: str = "int8",
) -> int:
    """Converts a network to TFLite, of batch 1.

    With `"int8"` a device feeds raw pixels: pixel p is the int8 number p - 128, or the uint8 number p. A network that
    begins with a `Rescaling` of pixels to 0..1 (as all of `odn_keras.build`'s do) or to -1..1 loses that layer, and the
    input's quantisation takes its place (see `input_range`). Any other network is converted as it is; its input's
    quantisation covers 0..255 if the calibration images are integers, and for floats no more than their own range: then
    the number to feed is the image's value divided by the input's scale, plus its zero point. The file brings a memory
    plan for TFLite Micro (see `odn_keras.deploy.memory`). The other files take and give float32; they keep the layer,
    and so take raw pixels as well.

    Args:
        network: a functional classifier of one image input and one output.
        calibration_images: at least 100 training images as the network takes them, of shape (n, height, width,
            channels); 500 to 1,000 are good. Activation ranges are measured on them. Only `"int8"` needs them.
        path: the file to write.
        quantize: `"int8"` for weights, activations, input and output in 8 bits; `"dynamic"` for 8-bit weights and float
            activations; `"float16"` for 16-bit weights; `"none"` for float32.
        integer_type: of an int8 file's input and output, `"int8"` or `"uint8"`.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: for calibration images that are too few or of another shape, weights that are not finite, or where
            TensorFlow is missing.
    """
    if quantize not in QUANTIZATIONS:
        raise InputError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}")
    if integer_type not in INTEGER_TYPES:
        raise InputError(f"integer_type must be one of {', '.join(INTEGER_TYPES)}, got {integer_type!r}")
    content = _converted(exportable(network), calibration_images, quantize, integer_type)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return pathlib.Path(path).stat().st_size


def int8_with_exits(network: keras.Model, calibration_images: np.ndarray) -> bytes:
    """The content of the int8 file of a network of several outputs; all else as in `export_tflite`."""
    return _converted(exportable(network, with_exits=True), calibration_images, "int8", "int8")


def _converted(network: keras.Model, calibration_images: np.ndarray | None, quantize: str, integer_type: str) -> bytes:
    images = _checked(calibration_images, network.input_shape[1:]) if quantize == "int8" else np.zeros(0)
    with quiet():
        return tensorflow_process.call(_convert, network, images, quantize, integer_type)


def exportable(network: keras.Model, *, with_exits: bool = False) -> keras.Model:
    """A copy of the network in float32 and plain Keras layers.

    Raises:
        InputError: for weights that are not finite, and for networks that are not functional, have several inputs or,
            unless `with_exits`, outputs, or have recurrent layers, on which the converter would crash.
    """
    if isinstance(network, keras.Sequential) or not hasattr(network, "operations"):
        raise InputError(f"export takes a functional keras.Model, got a {type(network).__name__}")
    if len(network.inputs) != 1 or (len(network.outputs) != 1 and not with_exits):
        raise InputError(
            "export takes a network of one input and one output, "
            f"this one has {len(network.inputs)} and {len(network.outputs)}"
        )
    for layer in network.layers:
        if isinstance(layer, keras.layers.RNN):
            raise InputError(f"layer {layer.name!r} of type {type(layer).__name__} is not of an image classifier")
    if not all(np.isfinite(weights).all() for weights in network.get_weights()):
        raise InputError("the network has weights that are NaN or infinite: it cannot be exported")
    return with_dtype(network, "float32")


def _checked(calibration_images, expected: tuple[int, ...]) -> np.ndarray:
    images = np.asarray(calibration_images)
    if images.ndim != 4 or images.shape[1:] != expected:
        raise InputError(f"calibration images must be of shape (n, {str(expected)[1:-1]}), got {images.shape}")
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise InputError(f"at least {MIN_CALIBRATION_IMAGES} calibration images are needed, got {len(images)}")
    return images


def _convert(network: keras.Model, images: np.ndarray, quantize: str, integer_type: str) -> bytes:
    import tensorflow as tf

    rescaling = None
    if quantize == "int8":
        network, rescaling = without_rescaling(network)
        check_pixels(images, rescaling, "calibration")
    single = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="image")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(single, network(single)))
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: calibration_samples(images, rescaling)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(integer_type)
    content = converter.convert()
    return compact(content) if quantize == "int8" else content


def without_rescaling(network: keras.Model) -> tuple[keras.Model, keras.layers.Rescaling | None]:
    """Splits a leading `Rescaling` of pixels to 0..1 or -1..1 off: the rest of the network, and that layer.

    A network that does not begin so, or of which some branch takes the pixels as they are, comes back whole.
    """
    first = network.layers[1]
    if not isinstance(first, keras.layers.Rescaling) or np.ndim(first.scale) or first.offset not in (0, -1):
        return network, None
    try:
        return keras.Model(first.output, network.output), first
    except ValueError:  # Keras finds a way from the input to the output around the layer
        return network, None


def input_range(network: keras.Model) -> tuple[float, float]:
    """What pixels 0 and 255 stand for in the input's quantisation of the network's int8 file."""
    _, rescaling = without_rescaling(network)
    return (float(rescaling.offset), 1.0) if rescaling else (0.0, 255.0)


def check_pixels(images: np.ndarray, rescaling: keras.layers.Rescaling | None, which: str) -> None:
    """Whether the images have the pixels that a network behind this rescaling takes.

    Raises:
        InputError: where they go too far.
    """
    if rescaling and images.max() > 1.01 * _white(rescaling):
        raise InputError(
            f"the network takes pixels from 0 to {_white(rescaling):g}, the {which} images go to {images.max():g}"
        )


def calibration_samples(images: np.ndarray, rescaling: keras.layers.Rescaling | None) -> Iterator[list[np.ndarray]]:
    """The images one by one, as the network takes them.

    The input's range must be that of all pixels, or a device could not feed p - 128: two corner pixels of the first
    image see to it. Of floats without rescaling it is not known.
    """
    white = _white(rescaling) if rescaling else 255.0 if images.dtype.kind in "iu" else None
    images = images.astype(np.float32)
    if white:
        images[0, 0, 0], images[0, -1, -1] = 0.0, white
    if rescaling:
        images = images * rescaling.scale + rescaling.offset
    for image in images:
        yield [image[np.newaxis]]


def _white(rescaling: keras.layers.Rescaling) -> float:
    """The pixel of which the layer makes 1."""
    return (1 - rescaling.offset) / rescaling.scale
