import keras
import numpy as np
import pytest
from keras import layers

from odn_keras import InputError, NetworkSpec, build, export_tflite
from odn_keras.deploy.convert.tflite import input_range
from odn_keras.deploy.runtimes import LiteRTClassifier

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def file(trained_on_digits, digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.tflite"
    size = export_tflite(trained_on_digits, digits.train[0][:500], path)
    assert size == path.stat().st_size
    return path


def test_a_device_feeds_raw_pixels(file):
    quantization = LiteRTClassifier(file).input
    for pixel in range(256):
        stands_for = quantization.scale * ((pixel - 128) - quantization.zero_point)
        assert abs(stands_for - pixel / 255) <= 1 / 255


def test_int8_agrees_with_float(file, trained_on_digits, digits):
    images, labels = digits.test
    float_probabilities = trained_on_digits.predict(images.astype("float32"), verbose=0)
    classifier = LiteRTClassifier(file)
    probabilities = classifier.predict(images)
    assert np.mean(float_probabilities.argmax(-1) == labels) > 0.9
    assert np.mean(float_probabilities.argmax(-1) == probabilities.argmax(-1)) > 0.98
    assert np.abs(float_probabilities - probabilities).mean() < 0.01
    assert classifier.accuracy(images, labels) == np.mean(probabilities.argmax(-1) == labels)


def test_everything_is_int8_and_known_to_tflite_micro(file):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file))
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()} - {"DELEGATE"}
    assert operators <= {"CONV_2D", "ADD", "MEAN", "FULLY_CONNECTED", "SOFTMAX"}
    types = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert types <= {np.int8, np.int32}  # int32: biases and axes
    assert interpreter.get_input_details()[0]["shape"][0] == 1


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_size_of_the_papers_mnist_network(tmp_path, dtype):
    network = build(NetworkSpec("resnet18", (28, 28, 1), 10), 2, dtype=dtype)
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1)).astype(np.uint8)
    assert export_tflite(network, images, tmp_path / "model.tflite") <= 165_000


def test_an_rgb_network_exports(tmp_path):
    network = build(NetworkSpec("resnet50", (16, 16, 3), 3, width=4, stem_stride=2), 5)
    images = np.random.default_rng(0).integers(0, 256, (100, 16, 16, 3)).astype(np.uint8)
    export_tflite(network, images, tmp_path / "model.tflite")
    assert LiteRTClassifier(tmp_path / "model.tflite").predict(images[:2]).shape == (2, 3)


def test_a_network_for_scaled_images_takes_raw_pixels_too(tmp_path, digits):
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4, input_scale=1.0), 1)
    export_tflite(network, digits.train[0][:200] / 255, tmp_path / "model.tflite")
    classifier = LiteRTClassifier(tmp_path / "model.tflite")
    assert classifier.input_error() < 1
    expected = network.predict(digits.test[0] / 255, verbose=0)
    assert np.abs(classifier.predict(digits.test[0]) - expected).mean() < 0.02
    with pytest.raises(InputError, match="go to 255"):
        export_tflite(network, digits.train[0][:200], tmp_path / "other.tflite")


@pytest.mark.parametrize(
    ("shape", "message"),
    [((99, 8, 8, 1), "at least 100.*got 99"), ((500, 8, 8, 3), r"\(n, 8, 8, 1\)"), ((500, 8, 8), r"\(500, 8, 8\)")],
)
def test_bad_calibration_images_are_refused_and_nothing_is_written(trained_on_digits, tmp_path, shape, message):
    with pytest.raises(InputError, match=message):
        export_tflite(trained_on_digits, np.zeros(shape, np.uint8), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


def test_a_broken_network_is_not_exported(tmp_path):
    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1)
    network.get_layer("head").bias.assign([np.nan, 0])
    with pytest.raises(InputError, match="NaN"):
        export_tflite(network, np.zeros((100, 8, 8, 1), np.uint8), tmp_path / "model.tflite")
    assert not (tmp_path / "model.tflite").exists()


@pytest.mark.parametrize(
    ("quantize", "share", "tolerance"), [("none", 4, 1e-4), ("float16", 2, 0.01), ("dynamic", 1, 0.03)]
)
def test_a_float_file_takes_raw_pixels_and_answers_as_the_network(
    trained_on_digits, digits, tmp_path, quantize, share, tolerance
):
    path = tmp_path / "model.tflite"
    size = export_tflite(trained_on_digits, None, path, quantize=quantize)
    assert size == pytest.approx(share * trained_on_digits.count_params() + 6_000, abs=5_000)
    images = digits.test[0][:50]
    expected = trained_on_digits.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(LiteRTClassifier(path).predict(images), expected, atol=tolerance)


def test_a_uint8_file_takes_pixels_as_they_are(trained_on_digits, digits, file, tmp_path):
    path = tmp_path / "model.tflite"
    export_tflite(trained_on_digits, digits.train[0][:500], path, integer_type="uint8")
    images = digits.test[0][:50]
    answers = LiteRTClassifier(path).predict_quantized(images)
    assert answers.dtype == np.uint8
    np.testing.assert_array_equal(answers.astype(int) - 128, LiteRTClassifier(file).predict_quantized(images))


def leading(*arguments, **options):
    return lambda pixels: layers.Conv2D(4, 3)(layers.Rescaling(*arguments, **options)(pixels))


def unscaled(pixels):
    return layers.Conv2D(4, 3)(pixels)


def bypassed(pixels):
    bright = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 255)(pixels))
    return layers.Concatenate()([bright, pixels])


def behind_a_convolution(pixels):
    return layers.Rescaling(1 / 255)(layers.Conv2D(4, 3)(pixels))


def called_twice(pixels):
    rescaling = layers.Rescaling(1 / 16)
    return layers.Conv2D(4, 3)(rescaling(rescaling(pixels)))


@pytest.mark.parametrize(
    ("body", "expected", "steps"),
    [
        (leading(1 / 255), (0, 1), 0.01),
        (leading(1 / 127.5, offset=-1), (-1, 1), 0.51),  # 0 becomes a step; it lies between two
        (leading(1 / 58, offset=-2.1), (0, 255), 0.01),
        (leading([1 / 255, 1 / 127, 1 / 100], [0.0, -1.0, 0.2]), (0, 255), 0.01),
        (unscaled, (0, 255), 0.01),
        (behind_a_convolution, (0, 255), 0.01),
        (called_twice, (0, 255), 0.01),
        (bypassed, (0, 255), 3),  # the converter gives all that is concatenated one range
    ],
)
def test_wherever_the_rescaling_is_raw_pixels_are_fed(tmp_path, body, expected, steps):
    pixels = keras.Input((8, 8, 3))
    features = layers.GlobalAveragePooling2D()(body(pixels))
    network = keras.Model(pixels, layers.Dense(3, activation="softmax")(features))
    images = np.random.default_rng(0).integers(3, 240, (150, 8, 8, 3)).astype(np.uint8)
    export_tflite(network, images, tmp_path / "model.tflite")
    classifier = LiteRTClassifier(tmp_path / "model.tflite")
    assert input_range(network) == expected and classifier.input_error(*expected) <= steps
    answers = network.predict(images[:50].astype(np.float32), verbose=0)
    assert np.abs(classifier.predict(images[:50]) - answers).max() < 0.03


def test_floats_without_rescaling_have_their_own_range(tmp_path):
    pixels = keras.Input((8, 8, 1))
    network = keras.Model(pixels, layers.Dense(2)(layers.Flatten()(pixels)))
    images = np.random.default_rng(0).uniform(-3, 1, (100, 8, 8, 1))
    export_tflite(network, images, tmp_path / "model.tflite")
    classifier = LiteRTClassifier(tmp_path / "model.tflite")
    assert classifier.input.scale == pytest.approx(4 / 255, rel=0.01) and classifier.input.zero_point == 63


def test_a_network_that_the_converter_would_crash_on_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 1))
    rows = layers.Reshape((8, 8))(inputs)
    recurrent = keras.Model(inputs, layers.Dense(2)(layers.LSTM(4)(rows)))
    shapeless = keras.Sequential([layers.Flatten(), layers.Dense(2)])
    two = keras.Model(inputs, [layers.Dense(2)(layers.Flatten()(inputs)), layers.Flatten()(inputs)])
    for network in (recurrent, shapeless, two):
        with pytest.raises(InputError, match=r"LSTM|no shape of images|1 and 2"):
            export_tflite(network, np.zeros((100, 8, 8, 1), np.uint8), tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("choice", [{"quantize": "int4"}, {"integer_type": "int16"}])
def test_an_unknown_choice_is_refused(trained_on_digits, digits, tmp_path, choice):
    with pytest.raises(InputError, match="must be one of"):
        export_tflite(trained_on_digits, digits.train[0][:100], tmp_path / "model.tflite", **choice)
