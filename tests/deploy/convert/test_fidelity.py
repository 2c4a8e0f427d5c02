"""Every export compares its file with the network: what is refused, and that nothing stays behind."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from odn_keras import InputError, LiteRTClassifier, OptimallyDeepNetwork, export_android, export_tflite
from odn_keras.deploy.convert import fidelity, tflite
from odn_keras.deploy.convert.exportable import exportable
from odn_keras.deploy.convert.fidelity import Reference
from odn_keras.deploy.convert.tflite import input_range

pytest.importorskip("tensorflow")
pytestmark = pytest.mark.one_backend  # the last test runs all of them

IMAGES = np.random.default_rng(0).integers(0, 256, (150, 8, 8, 3)).astype(np.uint8)


def head(x, activation="softmax"):
    return layers.Dense(3, activation=activation)(layers.GlobalAveragePooling2D()(x))


def functional(body):
    image = keras.Input((8, 8, 3))
    return keras.Model(image, body(image))


class Hidden(layers.Layer):
    """Holds a number that no file keeps."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


def forgetful(image):
    layer = Hidden()
    layer.factor = 0.3
    return head(layers.Conv2D(4, 3)(layer(image / 255.0)), None)


@pytest.mark.parametrize("quantize", ["int8", "none"])
def test_a_copy_that_answers_otherwise_is_refused(tmp_path, quantize):
    with pytest.raises(InputError, match="nothing is exported: what would be converted answers otherwise"):
        export_tflite(functional(forgetful), IMAGES, tmp_path / "model.tflite", quantize=quantize)
    assert not list(tmp_path.iterdir())


def test_a_file_of_permuted_channels_is_refused(trained_on_digits, digits, tmp_path, monkeypatch):
    real = tflite.convert

    def damaged(copy, images, reference, **choices):
        copy.get_layer("stem_conv").set_weights([copy.get_layer("stem_conv").get_weights()[0][..., ::-1]])
        with monkeypatch.context() as patch:
            patch.setattr(Reference, "check_copy", lambda *_: None)
            return real(copy, images, reference, **choices)

    monkeypatch.setattr(tflite, "convert", damaged)
    for quantize in ("int8", "float16"):
        with pytest.raises(InputError, match=f"the {quantize} file answers otherwise in LiteRT"):
            export_tflite(trained_on_digits, digits.train[0][:200], tmp_path / "model.tflite", quantize=quantize)
    assert not list(tmp_path.iterdir())


def test_a_forgotten_normalization_is_far_beyond_the_limit(digits, tmp_path):
    images = digits.train[0]
    normalization = layers.Normalization()
    normalization.adapt(images.astype("float32"))
    network = keras.Sequential([keras.Input((8, 8, 1)), normalization, layers.Flatten(), layers.Dense(10, "softmax")])
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images, digits.train[1], epochs=5, verbose=0)
    reference = Reference.of(network, images)
    forgetting = keras.models.clone_model(network)
    forgetting.set_weights(network.get_weights())
    forgetting.layers[0].mean, forgetting.layers[0].variance = 0 * normalization.mean, 0 * normalization.variance + 1
    with pytest.raises(InputError, match="answers otherwise"):
        reference.check_copy(fidelity.answers(forgetting, reference.images))
    export_tflite(network, images, tmp_path / "model.tflite")
    expected = network.predict(digits.test[0], verbose=0)
    assert fidelity.difference(LiteRTClassifier(tmp_path / "model.tflite").predict(digits.test[0]), expected) < 0.02


@pytest.mark.parametrize("quantize", tflite.QUANTIZATIONS)
@pytest.mark.parametrize("activation", ["softmax", None])
def test_an_untrained_network_is_exported(tmp_path, quantize, activation):
    network = functional(lambda image: head(layers.Conv2D(4, 3, activation="relu")(image / 255.0), activation))
    export_tflite(network, IMAGES, tmp_path / "model.tflite", quantize=quantize)
    found = fidelity.file_answers(tmp_path / "model.tflite", IMAGES if quantize == "int8" else IMAGES.astype("float32"))
    assert fidelity.difference(found, network.predict(IMAGES.astype("float32"), verbose=0)) < 0.02


def one_in_lists():
    image = keras.Input((8, 8, 3))
    return keras.Model([image], [head(layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image)))])


def one_in_a_dict():
    image = keras.Input((8, 8, 3), name="photo")
    return keras.Model({"photo": image}, {"class": head(layers.Conv2D(4, 3)(image / 255.0))})


def sequential():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)])


def wrapper():
    return OptimallyDeepNetwork("resnet18", (8, 8, 3), 3, width=2)


def in_16_bits():
    return OptimallyDeepNetwork("resnet18", (8, 8, 3), 3, width=2, dtype="mixed_bfloat16").network


@pytest.mark.parametrize("make", [one_in_lists, one_in_a_dict, sequential, wrapper, in_16_bits])
def test_whatever_holds_one_network_is_exported(tmp_path, make):
    network = make()
    export_tflite(network, IMAGES, tmp_path / "model.tflite")
    export_android(network, IMAGES, ["a", "b", "c"], str(tmp_path / "android.tflite"))
    copy = exportable(network)
    assert input_range(copy) == ((0.0, 255.0) if make is one_in_a_dict else (0.0, 1.0))
    expected = copy.predict(IMAGES[:20].astype("float32"), verbose=0)
    for file in ("model.tflite", "android.tflite"):
        assert fidelity.difference(LiteRTClassifier(tmp_path / file).predict(IMAGES[:20]), expected) < 0.03


def discretized(image):
    return head(layers.Conv2D(4, 3)(layers.Discretization([1.0, 2.0])(image)))


def python_code(image):
    return head(layers.Conv2D(4, 3)(layers.Lambda(lambda x: x / 2)(image)))


def channels_first(image):
    inner = keras.Input((8, 8, 3))
    convolution = layers.Conv2D(4, 3, data_format="channels_first", name="first")
    return head(keras.Model(inner, convolution(inner))(image))


def unknown_to_tflite(image):
    return head(layers.Conv2D(4, 3)(keras.ops.erfinv(image / 300)))


def channels_apart(image):
    return head(layers.Conv2D(4, 3)(keras.applications.resnet.preprocess_input(image)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (discretized, "type Discretization is not of an image classifier"),
        (python_code, "type Lambda holds Python code"),
        (channels_first, "'first' of type Conv2D computes channels_first"),
        (unknown_to_tflite, "TFLite has no operation Erfinv"),
        (channels_apart, "another scale than that of pixels"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, body, message):
    with pytest.raises(InputError, match=message) as refused:
        export_tflite(functional(body), IMAGES, tmp_path / "model.tflite")
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())


def test_a_network_quantised_by_keras_is_refused(tmp_path):
    network = functional(lambda image: layers.Dense(3)(layers.Flatten()(image)))
    network.quantize("int8")
    with pytest.raises(InputError, match="was quantised by Keras"):
        export_tflite(network, IMAGES, tmp_path / "model.tflite")


def test_an_operation_before_a_rescaling_is_not_lost(tmp_path):
    network = functional(lambda image: layers.Dense(3)(layers.Flatten()(layers.Rescaling(1 / 255)(image * 0.5))))
    export_tflite(network, IMAGES, tmp_path / "model.tflite")
    found = fidelity.file_answers(tmp_path / "model.tflite", IMAGES)
    assert fidelity.difference(found, network.predict(IMAGES.astype("float32"), verbose=0)) < 0.02


def test_a_network_of_standardised_images_is_exported(tmp_path):
    images = (IMAGES / 255 - 0.45) / 0.22
    model = OptimallyDeepNetwork("resnet18", (8, 8, 3), 3, width=2, input_scale=1.0)
    export_tflite(model, images, tmp_path / "model.tflite")
    found = fidelity.file_answers(tmp_path / "model.tflite", images)
    assert fidelity.difference(found, model.network.predict(images, verbose=0)) < 0.03


ELSEWHERE = """
import sys
import keras, numpy as np
from keras import layers
from odn_keras import NetworkSpec, build, export_tflite
from odn_keras.deploy.convert import fidelity
from odn_keras.deploy.convert.exportable import exportable
from odn_keras.deploy.convert.tflite import input_range

sequential = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)])
assert input_range(exportable(sequential)) == (0, 1)  # else the TensorFlow process would split it otherwise

class Gate(layers.Layer):
    def call(self, x):
        return x * keras.ops.sigmoid(x)

normalization = layers.Normalization()
normalization.adapt(np.random.default_rng(1).uniform(0, 255, (9, 8, 8, 3)))
keras.config.set_image_data_format("channels_first")
built = build(NetworkSpec("resnet18", (8, 8, 3), 3, width=4, input_scale=1.0), 2)
assert built.input_shape == (None, 8, 8, 3) and built.get_layer("block2_relu").output.shape[-1] == 4
image = keras.Input((8, 8, 3))
network = keras.Model(image, Gate()(built(normalization(image))))
images = np.random.default_rng(0).integers(0, 256, (150, 8, 8, 3)).astype(np.uint8)
export_tflite(network, images, sys.argv[1])
expected = keras.ops.convert_to_numpy(network(images[:50].astype("float32"), training=False))
assert fidelity.difference(fidelity.file_answers(sys.argv[1], images[:50]), expected) < 0.03
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_whatever_the_backend(tmp_path, backend):
    """Keras's global data format changes nothing; a class that only the user's script knows reaches TensorFlow."""
    pytest.importorskip(backend)
    pytest.importorskip("cloudpickle")
    result = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "model.tflite")],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
