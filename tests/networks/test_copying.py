import keras
import numpy as np
import pytest
from keras import layers, ops

from odn_keras import InputError
from odn_keras.networks.copying import all_layers, copy


def classify(x):
    return layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(x)))


def adapted():
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).uniform(30, 200, (20, 8, 8, 3)))
    return normalization


def nested_twice(x):
    inner = keras.Input((8, 8, 3))
    return (block := keras.Model(inner, adapted()(inner)))(block(x))


def shared(x):
    convolution = layers.Conv2D(3, 3, padding="same")
    return convolution(convolution(x))


def plus(x):
    return x / 255.0 + layers.Conv2D(3, 1)(ops.relu(x))


def double(x):
    return 2 * x


class Gate(layers.Layer):
    def call(self, x):
        return x * ops.sigmoid(x)


FEATURES = {
    "an adapted normalization": lambda x: adapted()(x),
    "one in a nested network, called twice": nested_twice,
    "a shared layer": shared,
    "operations": plus,
    "mobilenet's preprocessing": keras.applications.mobilenet_v2.preprocess_input,
    "resnet's preprocessing": keras.applications.resnet.preprocess_input,
    "a scale per channel": layers.Rescaling([0.1, 0.2, 0.3], offset=[0.0, -1.0, 2.0]),
    "a wrapper": layers.SpectralNormalization(layers.Conv2D(3, 1)),
    "groups": layers.GroupNormalization(3),
    "augmentation with a seed": layers.RandomFlip(seed=3),
    "a cast that cuts": lambda x: ops.cast(ops.cast(x / 3, "int32"), "float32"),
    "a function": layers.Activation(double),
    "an unregistered layer": lambda x: Gate()(x),
    "a sequential inside": lambda x: keras.Sequential([layers.Rescaling(1 / 255), layers.BatchNormalization()])(x),
    "16 bits": lambda x: layers.Conv2D(3, 1, dtype="mixed_bfloat16")(layers.Rescaling(1 / 255)(x)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_a_copy_answers_as_the_network_and_shares_nothing(name):
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, classify(FEATURES[name](image)))
    network.compile("adam", "mse")
    images = np.random.default_rng(1).uniform(0, 255, (5, 8, 8, 3)).astype("float32")
    expected = network.predict(images, verbose=0)
    copied = copy(network, "float32")
    assert {layer.compute_dtype for layer in all_layers(copied)} == {"float32"} and not copied.compiled
    np.testing.assert_allclose(copied.predict(images, verbose=0), expected, atol=1e-2 if name == "16 bits" else 1e-5)
    for weight in copied.trainable_weights:
        weight.assign(weight * 0)
    np.testing.assert_array_equal(network.predict(images, verbose=0), expected)


def test_frozen_layers_stay_frozen():
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, classify(image))
    network.layers[1].trainable = False
    assert [layer.trainable for layer in copy(network, "float32").layers] == [
        layer.trainable for layer in network.layers
    ]


def test_what_cannot_be_described_is_one_line():
    class Secretive(layers.Layer):
        def __init__(self, array):
            super().__init__()
            self.array = array

        def get_config(self):
            raise NotImplementedError("no configuration\nof this")

        def call(self, x):
            return x * self.array

    image = keras.Input((8, 8, 3))
    network = keras.Model(image, classify(Secretive(np.ones(3, "float32"))(image)), name="mine")
    with pytest.raises(InputError, match="'mine' cannot be copied: no configuration of this") as refused:
        copy(network, "float32")
    assert "\n" not in str(refused.value)
