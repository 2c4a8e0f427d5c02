import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from odn_keras import InputError, NetworkSpec, build, export_tflite, prune
from odn_keras.deploy.convert.keras2_twin import build_twin
from odn_keras.deploy.convert.qat import export_qat
from odn_keras.deploy.feeding import Quantization
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.networks.builder import with_dtype

for needed in ("tensorflow", "tensorflow_model_optimization", "tf_keras", "ai_edge_litert"):
    pytest.importorskip(needed)
pytestmark = pytest.mark.one_backend

from ai_edge_litert.interpreter import Interpreter  # noqa: E402


@pytest.fixture(scope="module")
def narrow(digits):
    """A narrow network whose training was cut short: what int8 costs and fine-tuning brings back shows in it."""
    keras.utils.set_random_seed(0)
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4), 2)
    images, labels = digits.train
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images.astype("float32"), labels, epochs=30, batch_size=64, verbose=0)
    return network


@pytest.fixture(scope="module")
def files(narrow, digits, tmp_path_factory):
    """The int8 files without and with quantisation-aware training."""
    folder = tmp_path_factory.mktemp("qat")
    plain, aware = folder / "plain.tflite", folder / "aware.tflite"
    export_tflite(narrow, digits.train[0][:1000], plain)
    size = export_qat(narrow, digits.train, digits.validation, aware, epochs=2, verbose=0)
    assert size == aware.stat().st_size
    return plain, aware


def operators(path):
    return [
        operator["op_name"]
        for operator in Interpreter(str(path))._get_ops_details()
        if operator["op_name"] != "DELEGATE"
    ]


def test_the_file_is_of_the_same_kind_as_without(files):
    plain, aware = files
    assert operators(aware) == operators(plain)
    types = {tensor["dtype"] for tensor in Interpreter(str(aware)).get_tensor_details()}
    assert types == {np.int8, np.int32}  # int32: biases and axes
    assert aware.stat().st_size <= 1.1 * plain.stat().st_size
    classifier = LiteRTClassifier(aware)
    assert classifier.input_error() < 1e-3
    assert classifier.input == Quantization(pytest.approx(1 / 255), -128)
    assert classifier.output == Quantization(1 / 256, -128)


def test_it_is_at_least_as_good_on_the_images_it_is_chosen_by(files, digits):
    plain, aware = (LiteRTClassifier(path).accuracy(*digits.validation) for path in files)
    assert aware >= plain


@pytest.mark.parametrize("emptied", [False, True])
def test_the_accuracy_it_prints_is_the_file_s(narrow, digits, tmp_path, capfd, emptied):
    network = with_dtype(narrow, "float32")
    if emptied:  # a channel whose kernel training has shrunk to nothing, but not its bias
        (kernel,) = network.get_layer("block2_conv1").get_weights()
        kernel[..., 1] = 0
        network.get_layer("block2_conv1").set_weights([kernel])
        gamma, beta, *moving = network.get_layer("block2_bn1").get_weights()
        network.get_layer("block2_bn1").set_weights([gamma, beta + 1, *moving])
    export_qat(network, digits.train, digits.validation, tmp_path / "model.tflite", epochs=1, learning_rate=1e-9)
    *_, printed = capfd.readouterr().out.splitlines()
    accuracy = LiteRTClassifier(tmp_path / "model.tflite").accuracy(*digits.validation)
    assert float(printed.split()[-1]) == pytest.approx(accuracy, abs=0.012)  # 3 of 255 images


def test_the_same_seed_gives_the_same_file_and_leaves_the_network_alone(narrow, files, digits, tmp_path):
    before = narrow.get_weights()
    export_qat(narrow, digits.train, digits.validation, tmp_path / "again.tflite", epochs=2, verbose=0)
    outputs = [
        LiteRTClassifier(path).predict_quantized(digits.test[0]) for path in (files[1], tmp_path / "again.tflite")
    ]
    np.testing.assert_array_equal(*outputs)
    for old, new in zip(before, narrow.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenetv2"])
def test_a_twin_computes_the_same(backbone, digits):
    network = build(NetworkSpec(backbone, (8, 8, 1), 10, width=4), 4)
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.1, 0.5, weight.shape) for weight in network.get_weights()])
    images = digits.test[0].astype("float32")
    twin = build_twin(network)
    np.testing.assert_allclose(twin.predict(images / 255, verbose=0), network.predict(images, verbose=0), atol=1e-4)


def test_a_twin_follows_any_graph_of_the_known_layers(digits):
    pixels = keras.Input((8, 8, 1))
    x = layers.Rescaling(2 / 255, offset=-1)(pixels)
    x = layers.Conv2D(6, (3, 2), strides=2, padding="valid", dilation_rate=1, name="with_bias")(x)
    x = layers.BatchNormalization(scale=False, epsilon=0.1)(x)
    left = layers.ReLU(max_value=6, negative_slope=0.1)(x)
    right = layers.Conv2D(6, 1, groups=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D(keepdims=False)(layers.Add()([left, x, right]))
    x = layers.Dense(7, activation="relu")(x)
    network = keras.Model(pixels, layers.Dense(3, activation="softmax", use_bias=False)(x))
    images = digits.test[0].astype("float32")
    np.testing.assert_allclose(
        build_twin(network).predict(images / 127.5 - 1, verbose=0),
        network.predict(images, verbose=0),
        atol=1e-4,
    )


def test_a_compact_network_is_trained_under_int8_like_any_other(narrow, digits, tmp_path):
    network = with_dtype(narrow, "float32")
    for group in prune.find_groups(network, streams=True):
        for layer in (*group.writers, *group.norms):
            layer.set_weights([np.concatenate([0 * w[..., :1], w[..., 1:]], axis=-1) for w in layer.get_weights()])
    small = prune.compact(network)
    assert small.count_params() < narrow.count_params()
    plain, aware = tmp_path / "plain.tflite", tmp_path / "aware.tflite"
    export_tflite(small, digits.train[0][:1000], plain)
    export_qat(small, digits.train, digits.validation, aware, epochs=2, verbose=0)
    assert operators(aware) == operators(plain)
    assert aware.stat().st_size < 1.1 * plain.stat().st_size
    before, after = (LiteRTClassifier(path).accuracy(*digits.validation) for path in (plain, aware))
    assert after > before  # a channel of every group is gone and nothing was trained since


def test_a_uint8_file_takes_pixels_as_they_are(narrow, digits, tmp_path):
    path = tmp_path / "model.tflite"
    export_qat(narrow, digits.train, digits.validation, path, epochs=1, integer_type="uint8", verbose=0)
    interpreter = Interpreter(str(path))
    (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert image["dtype"] == output["dtype"] == np.uint8
    assert image["quantization"] == (pytest.approx(1 / 255), 0)


def head_on(x, activation="softmax"):
    return layers.Dense(10, activation=activation)(layers.GlobalAveragePooling2D()(x))


def unknown_layer(x):
    return head_on(layers.MaxPooling2D(name="shrink")(layers.Conv2D(4, 3)(x)))


def unknown_operation(x):
    return head_on(layers.Conv2D(4, 3)(x) * 2)


def custom_activation(x):
    return head_on(layers.Conv2D(4, 3, activation="gelu", name="smooth")(x))


def shared_layer(x):
    twice = layers.Conv2D(1, 3, name="twice")
    return head_on(twice(twice(x)))


def normalization_first(x):
    return head_on(layers.BatchNormalization(name="norm")(x))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (unknown_layer, "'shrink' of type MaxPooling2D"),
        (unknown_operation, "of type Multiply"),
        (custom_activation, "'smooth' of type Conv2D has activation 'gelu'"),
        (shared_layer, "'twice' of type Conv2D is called 2 times"),
        (normalization_first, "cannot quantise this network: Layer norm"),
    ],
)
def test_a_network_that_cannot_be_trained_so_is_refused(digits, tmp_path, body, message):
    pixels = keras.Input((8, 8, 1))
    network = keras.Model(pixels, body(layers.Rescaling(1 / 255)(pixels)))
    with pytest.raises(InputError, match=message):
        export_qat(network, digits.train, digits.validation, tmp_path / "model.tflite", verbose=0)
    assert not list(tmp_path.iterdir())


IMAGES, LABELS = np.zeros((200, 8, 8, 1), np.uint8), np.zeros(200, np.int64)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": (IMAGES[:, :7], LABELS)}, r"training images must be of shape \(n, 8, 8, 1\)"),
        ({"validation": (IMAGES[:0], LABELS[:0])}, r"validation images must be of shape"),
        ({"train": (IMAGES, LABELS[:-1])}, r"labels must be integers of shape \(200,\)"),
        ({"train": (IMAGES, LABELS + 0.5)}, "labels must be integers .* got float64"),
        ({"validation": (IMAGES, LABELS + 10)}, "from 0 to 9.* got 10 to 10"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate above 0"),
        ({"batch_size": 201}, "batch_size must be from 1 to 200"),
        ({"integer_type": "int16"}, "integer_type must be one of"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, changed, message):
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=1), 1)
    arguments = {"train": (IMAGES, LABELS), "validation": (IMAGES, LABELS), **changed}
    with pytest.raises(InputError, match=message):
        export_qat(network, path=tmp_path / "model.tflite", **arguments)
    assert not list(tmp_path.iterdir())


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_model_optimization", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=1), 1)
    with pytest.raises(InputError, match=r"needs tensorflow_model_optimization.*pip install 'odn_keras\[qat\]'"):
        export_qat(network, (IMAGES, LABELS), (IMAGES, LABELS), tmp_path / "model.tflite")


OTHER_BACKEND = """
import sys
import keras
from odn_keras import InputError, NetworkSpec, build, load_dataset
from odn_keras.networks.builder import with_dtype
from odn_keras.deploy.convert.qat import export_qat

digits = load_dataset("digits")
network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=2), 1)
size = export_qat(network, digits.train, digits.validation, sys.argv[1], epochs=1)
network.get_layer("stem_bn").gamma.assign([float("nan")] * 2)
try:
    export_qat(network, digits.train, digits.validation, sys.argv[1], epochs=1)
except InputError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.slow)])
def test_another_backend_trains_in_a_tensorflow_process(digits, tmp_path, backend):
    pytest.importorskip(backend)
    path = tmp_path / "model.tflite"
    result = subprocess.run(
        [sys.executable, "-c", OTHER_BACKEND, str(path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "epoch 1 of 1" in result.stdout and "refused: the network has weights that are NaN" in result.stdout
    assert LiteRTClassifier(path).predict(digits.test[0][:3]).shape == (3, 10)
