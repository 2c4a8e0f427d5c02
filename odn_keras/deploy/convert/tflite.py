"""A trained network -> a `.tflite` file, quantised or not. Needs TensorFlow, whatever backend trained the network."""

import os
import pathlib
import re
from collections.abc import Iterator

import keras
import numpy as np

from odn_keras.deploy import feeding
from odn_keras.deploy.convert import fidelity, tensorflow_process
from odn_keras.deploy.convert.exportable import exportable, unwrapped
from odn_keras.deploy.convert.fidelity import CHECKED_IMAGES, Answers, Reference
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite_file.flatbuffer import read_model, strip_tensor_names
from odn_keras.errors import InputError
from odn_keras.files import replacing
from odn_keras.quiet import quiet

MIN_CALIBRATION_IMAGES = 100
CALIBRATION_IMAGES = 1000  # what the commands take
QUANTIZATIONS = ("int8", "float16", "dynamic", "none")
INTEGER_TYPES = ("int8", "uint8")
NOISE_IMAGES = 20
INPUT_ERROR = 4  # steps; the converter gives tensors that are concatenated one range


def export_tflite(
    network: keras.Model,
    calibration_images: np.ndarray | None,
    path: str | os.PathLike[str],
    *,
    quantize: str = "int8",
    integer_type: str = "int8",
) -> int:
    """Converts a network to TFLite, of batch 1.

    With `"int8"` a device feeds raw pixels: pixel p is the int8 number p - 128, or the uint8 number p. A network that
    begins with a `Rescaling` of pixels to 0..1 (as all of `odn_keras.build`'s do) or to -1..1 loses that layer, and the
    input's quantisation takes its place (see `input_range`). Any other network is converted as it is; its input's
    quantisation covers 0..255 if the calibration images are integers, and for floats (and for images below 0 behind a
    `Rescaling` by 1, which are standardised) no more than their own range: then the number to feed is the image's value
    divided by the input's scale, plus its zero point. The file brings a memory
    plan for TFLite Micro (see `odn_keras.deploy.tflite_file.flatbuffer`). The other files take and give float32; they
    keep the layer, and so take raw pixels as well.

    Before the file gets its name its answers in LiteRT are compared with the network's own on calibration images: see
    `odn_keras.deploy.convert.fidelity`.

    Args:
        network: a functional or sequential classifier of one image input and one output, or the `OptimallyDeepNetwork`
            that holds it.
        calibration_images: at least 100 training images as the network takes them, of shape (n, height, width,
            channels); 500 to 1,000 are good. Activation ranges are measured on the first 1,000, and the file is
            checked on the first 200. Only `"int8"` needs them: without them, other files are checked on noise.
        path: the file to write.
        quantize: `"int8"` for weights, activations, input and output in 8 bits; `"dynamic"` for 8-bit weights and float
            activations; `"float16"` for 16-bit weights; `"none"` for float32.
        integer_type: of an int8 file's input and output, `"int8"` or `"uint8"`.

    Returns:
        The size of the file in bytes.

    Raises:
        InputError: for calibration images that are too few or of another shape, a network that cannot be exported or
            converted (see `odn_keras.deploy.convert.exportable`), a file that answers otherwise than the network, or
            where TensorFlow is missing. Nothing is written then.
    """
    if quantize not in QUANTIZATIONS:
        raise InputError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}")
    if integer_type not in INTEGER_TYPES:
        raise InputError(f"integer_type must be one of {', '.join(INTEGER_TYPES)}, got {integer_type!r}")
    copy = exportable(network)
    if calibration_images is None and quantize != "int8":
        images = _noise(copy)
    else:
        images = checked_images(calibration_images, copy.input_shape[1:])
    reference = Reference.of(unwrapped(network), images)
    content = convert(copy, images, reference, quantize=quantize, integer_type=integer_type)
    return write_checked(content, path, reference, quantize=quantize, copy=copy, images=images)


def convert(
    copy: keras.Model, images: np.ndarray, reference: Reference, *, quantize: str, integer_type: str = "int8"
) -> bytes:
    """Converts a network that answers as the reference does; returns the content of the file.

    Args:
        copy: made by `exportable`.
        images: for calibration.
        reference: the answers of the network that was copied, of the first of the images.
        quantize: as in `export_tflite`.
        integer_type: as in `export_tflite`.

    Raises:
        InputError: as `export_tflite`.
    """
    with quiet():
        content, answers = tensorflow_process.call(_convert, copy, images, quantize, integer_type)
    reference.check_copy(answers)
    return content


def write_checked(
    content: bytes,
    path: str | os.PathLike[str],
    reference: Reference,
    *,
    quantize: str,
    copy: keras.Model,
    images: np.ndarray,
) -> int:
    """Writes the file if it answers as the reference does; returns its size in bytes.

    Args:
        content: of the file.
        path: where it goes.
        reference: the float network's answers.
        quantize: how the file was quantised.
        copy: the network that was converted, made by `exportable`.
        images: those of the reference, and perhaps more, as `copy` takes them.

    Raises:
        InputError: where it does not, or where pixels p are not the numbers p - 128.
    """
    fed = _fed_as(copy, images, quantize)
    with replacing(pathlib.Path(path).expanduser()) as temporary:
        temporary.write_bytes(content)
        if fed.dtype.kind in "iu":
            classifier = LiteRTClassifier(temporary)
            error = feeding.shifted(classifier.dtypes[0]).error(classifier.input, *input_range(copy))
            if error > INPUT_ERROR:
                raise InputError(
                    f"nothing is exported: TensorFlow's converter gives the input another scale than that of pixels, "
                    f"{error:.0f} of 255 steps off, as it does where channels are taken apart (so do some "
                    "keras.applications.*.preprocess_input): begin with one Rescaling or Normalization layer"
                )
        reference.check_file([fidelity.file_answers(temporary, fed)], quantize)
    return len(content)


def _fed_as(copy: keras.Model, images: np.ndarray, quantize: str) -> np.ndarray:
    """The first of the images, as `fidelity.file_answers` feeds them to a file of the network."""
    _, rescaling = input_of(copy, images, "calibration")
    images = images[:CHECKED_IMAGES]
    if quantize not in ("int8", "qat"):
        return images.astype(np.float32)
    if rescaling is None or (images.dtype.kind in "iu" and round(_white(rescaling)) == 255):
        return images
    return images * rescaling.scale + rescaling.offset


def as_pixels(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Images as the network takes them -> the uint8 pixels that stand for them in its int8 file."""
    _, rescaling = without_rescaling(network)
    scale = 255 / _white(rescaling) if rescaling else 1.0
    return np.clip(np.round(images * scale), 0, 255).astype(np.uint8)


def int8_with_exits(network: keras.Model, calibration_images: np.ndarray) -> bytes:
    """The content of the int8 file of a network of several outputs; all else as in `export_tflite`.

    It has not been run: `odn_keras.deploy.chain.exit_chain` checks what it makes of it.
    """
    return converted_with_exits(network, calibration_images)[0]


def converted_with_exits(network: keras.Model, calibration_images: np.ndarray) -> tuple[bytes, Reference]:
    """The content as of `int8_with_exits`, and the outputs of the float network."""
    copy = exportable(network, with_exits=True)
    images = checked_images(calibration_images, copy.input_shape[1:])
    reference = Reference.of(unwrapped(network), images)
    return convert(copy, images, reference, quantize="int8"), reference


def checked_images(calibration_images: np.ndarray | None, expected: tuple[int, ...]) -> np.ndarray:
    """The first `CALIBRATION_IMAGES` of the images, of that shape.

    Raises:
        InputError: where they are too few, or no images that a network can be calibrated on.
    """
    images = np.asarray(calibration_images)
    if images.ndim != 4 or images.shape[1:] != expected or images.dtype.kind not in "iuf":
        raise InputError(
            f"calibration images must be numbers of shape (n, {str(expected)[1:-1]}), got {images.dtype} {images.shape}"
        )
    if len(images) < MIN_CALIBRATION_IMAGES:
        raise InputError(f"at least {MIN_CALIBRATION_IMAGES} calibration images are needed, got {len(images)}")
    if not np.isfinite(images).all():
        raise InputError("calibration images must be finite, some are NaN or infinite")
    if images.dtype.kind in "iu" and (images.min() < 0 or images.max() > 255):
        raise InputError(
            f"integer calibration images are pixels from 0 to 255, these go from {images.min()} to {images.max()}: "
            "give other numbers as floats"
        )
    return images[:CALIBRATION_IMAGES]


def _noise(copy: keras.Model) -> np.ndarray:
    _, rescaling = without_rescaling(copy)
    noise = np.random.default_rng(0).uniform(0, 1, (NOISE_IMAGES, *copy.input_shape[1:]))
    return (noise * (_white(rescaling) if rescaling else 255.0)).astype(np.float32)


def _convert(network: keras.Model, images: np.ndarray, quantize: str, integer_type: str) -> tuple[bytes, Answers]:
    """The file's content, and the answers of what was converted."""
    import tensorflow as tf

    rescaling, shown = None, images[:CHECKED_IMAGES]
    if quantize == "int8":
        network, rescaling = input_of(network, images, "calibration")
        shown = shown * rescaling.scale + rescaling.offset if rescaling else shown
    single = keras.Input(batch_shape=(1, *network.input_shape[1:]), name="image", dtype="float32")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(single, network(single)))
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: calibration_samples(images, rescaling)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(integer_type)
    try:
        content = converter.convert()
    except Exception as error:  # of any kind: what the converter cannot do it says in many ways
        raise InputError(
            f"TensorFlow's converter cannot convert this network, quantize={quantize!r}: {_reason(error)}"
        ) from error
    if quantize == "int8":
        check_no_floats(content)
        content = strip_tensor_names(content)
    return content, fidelity.answers(network, shown)


def check_no_floats(content: bytes) -> None:
    """Raises `InputError` for a file of which the converter has left a part in float."""
    from ai_edge_litert.schema_py_generated import TensorType

    tensors = read_model(content).subgraphs[0].tensors
    floats = [tensor.name.decode() for tensor in tensors if tensor.type in (TensorType.FLOAT32, TensorType.FLOAT16)]
    if floats:
        raise InputError(
            f"TensorFlow's converter has no int8 form of a part of this network: {len(floats)} tensors stay in float, "
            f"the first is {floats[0][-100:]!r}; quantize as dynamic or float16"
        )


def _reason(error: Exception) -> str:
    unknown = re.search(r"'tf\.(\w+)' op is neither", str(error))
    if unknown:
        return f"TFLite has no operation {unknown[1]}"
    return " ".join(str(error).split())[:300] or repr(error)


def without_rescaling(network: keras.Model) -> tuple[keras.Model, keras.layers.Rescaling | None]:
    """Splits a leading `Rescaling` of pixels to 0..1 or -1..1 off: the rest of the network, and that layer.

    A network that does not begin so, or of which some branch takes the pixels as they are, comes back whole.
    """
    first = network.operations[1] if len(network.operations) > 1 else None
    if not isinstance(first, keras.layers.Rescaling) or np.ndim(first.scale) or first.offset not in (0, -1):
        return network, None
    try:
        if first.input is not network.inputs[0]:
            return network, None
        return keras.Model(first.output, network.output), first
    except (ValueError, AttributeError):  # called twice; or there is a way from the input to the output around it
        return network, None


def input_of(network: keras.Model, images: np.ndarray, which: str) -> tuple[keras.Model, keras.layers.Rescaling | None]:
    """Splits a network as `without_rescaling` does, unless the images are no pixels; then the layer is `None`.

    Images below 0 in front of a `Rescaling` by 1 are standardised ones, not pixels.

    Args:
        network: made by `exportable`.
        images: as the network takes them.
        which: of the images, for messages.

    Raises:
        InputError: where the images go beyond the pixels that the layer takes.
    """
    rest, rescaling = without_rescaling(network)
    if rescaling is None:
        return rest, None
    low, high, white = float(images.min()), float(images.max()), _white(rescaling)
    if low < 0 and (rescaling.scale, rescaling.offset) == (1, 0):
        return rest, None
    if high > 1.01 * white or low < -0.01 * white:
        far = high if high > 1.01 * white else low
        raise InputError(
            f"the network takes pixels from 0 to {white:g}, the {which} images go to {far:g}: give them as in training"
        )
    return rest, rescaling


def input_range(network: keras.Model) -> tuple[float, float]:
    """The real numbers that pixels 0 and 255 stand for in the input quantisation of the network's int8 file."""
    _, rescaling = without_rescaling(unwrapped(network))
    return (float(rescaling.offset), 1.0) if rescaling else (0.0, 255.0)


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
