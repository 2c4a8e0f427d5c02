import keras
import numpy as np
import pytest

from odn_keras.networks.normalization import BatchNormalization


def network(layer, dtype="float32"):
    inputs = keras.Input((6, 5, 3))
    x = keras.layers.Conv2D(4, 3, dtype=dtype)(inputs)
    x = layer(momentum=0.9, epsilon=1e-5, name="bn", dtype=dtype)(x)
    x = keras.layers.Flatten()(keras.layers.ReLU(dtype=dtype)(x))
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(x))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
def test_training_and_inference_are_those_of_keras(dtype, tolerance):
    rng = np.random.default_rng(0)
    images, targets = rng.normal(2, 3, (40, 6, 5, 3)).astype("float32"), rng.normal(size=(40, 2)).astype("float32")
    ours, kerass = network(BatchNormalization, dtype), network(keras.layers.BatchNormalization, dtype)
    kerass.set_weights(ours.get_weights())
    for model in (ours, kerass):
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
        model.fit(images, targets, batch_size=16, epochs=3, shuffle=False, verbose=0)  # the last batch is a smaller one

    for a, b in zip(ours.get_weights(), kerass.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(ours.predict(images, verbose=0), kerass.predict(images, verbose=0), atol=5 * tolerance)


def test_frozen_it_runs_on_its_moving_statistics_and_keeps_them():
    model = network(BatchNormalization)
    layer = model.get_layer("bn")
    layer.trainable = False
    layer.moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    images = np.random.default_rng(0).normal(size=(8, 6, 5, 3)).astype("float32")
    training = keras.ops.convert_to_numpy(model(images, training=True))
    np.testing.assert_array_equal(training, keras.ops.convert_to_numpy(model(images, training=False)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.moving_mean), [1.0, 2.0, 3.0, 4.0])


def test_a_saved_network_holds_the_layer_of_keras(tmp_path):
    model = network(BatchNormalization)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert type(loaded.get_layer("bn")) is keras.layers.BatchNormalization
    assert "odn_keras" not in model.to_json()
    images = np.ones((2, 6, 5, 3), "float32")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-6)
