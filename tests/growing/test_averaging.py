import keras
import numpy as np
import pytest

from odn_keras import Batches, NetworkSpec, build
from odn_keras.data.augmentation import Augmentation
from odn_keras.growing import averaging


def test_the_average_is_over_about_a_twentieth_of_the_cycle():
    for steps in (1, 10, 400):
        momentum = averaging.averaging_momentum(steps)
        assert 0 < momentum < 1
    assert averaging.averaging_momentum(400) ** 20 == pytest.approx(np.exp(-1))  # the weight of what is that old
    assert averaging.averaging_momentum(30_000) ** 150 == pytest.approx(np.exp(-1))


def test_recalibrating_sets_the_statistics_to_those_of_the_batches():
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4), 2)
    before = {weight.path: np.array(weight) for weight in network.weights if "moving_" not in weight.path}
    momenta = [layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    batches = [np.random.default_rng(seed).integers(0, 256, (16, 8, 8, 1)).astype("float32") for seed in range(3)]
    averaging.recalibrate(network, batches)

    stem = keras.Model(network.input, network.get_layer("stem_conv").output)
    outputs = [np.asarray(keras.ops.convert_to_numpy(stem(batch))) for batch in batches]
    norm = network.get_layer("stem_bn")
    means = np.mean([output.mean(axis=(0, 1, 2)) for output in outputs], axis=0)
    variances = np.mean([output.var(axis=(0, 1, 2)) for output in outputs], axis=0)
    np.testing.assert_allclose(np.array(norm.moving_mean), means, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.array(norm.moving_variance), variances, rtol=2e-2)  # TensorFlow's is unbiased
    for weight in network.weights:
        if weight.path in before:
            np.testing.assert_array_equal(np.array(weight), before[weight.path])
    assert momenta == [layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def test_frozen_statistics_stay():
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=2), 1)
    norm = network.get_layer("stem_bn")
    norm.trainable = False
    before = np.array(norm.moving_mean)
    averaging.recalibrate(network, [np.full((4, 8, 8, 1), 200.0, "float32")])
    np.testing.assert_array_equal(np.array(norm.moving_mean), before)


def test_some_batches_leave_the_training_where_it_is():
    images = np.arange(64 * 4, dtype="uint8").reshape(64, 2, 2, 1)
    training = Batches((images, np.zeros(64, int)), 2, 4, seed=1, augmentation=Augmentation(flip=True))
    training.seek(3, 2)
    ahead = np.array(training[0][0])
    seen = list(averaging.some_batches(training, None))
    assert len(seen) == averaging.RECALIBRATION_BATCHES
    np.testing.assert_array_equal(training[0][0], ahead)
    again = list(averaging.some_batches(training, None))
    np.testing.assert_array_equal(np.array(seen), np.array(again))


def test_some_batches_of_arrays_sorted_by_class_have_all_classes_and_nothing_set_aside():
    images = np.repeat(np.arange(100.0), 10).reshape(1000, 1, 1, 1)
    seen = np.unique(np.concatenate(list(averaging.some_batches(images, 32, validation_split=0.25))))
    assert len(seen) > 70 and seen.max() == 74


@pytest.mark.parametrize("kind", ["arrays", "dict", "pairs", "generator"])
def test_some_batches_of_every_kind_of_input(kind):
    images = np.random.default_rng(0).normal(size=(20, 2, 2, 1))
    pairs = [(images[start : start + 4], np.zeros(4)) for start in range(0, 20, 4)]
    x = {"arrays": images, "dict": {"image": images}, "pairs": pairs, "generator": iter(pairs)}[kind]
    seen = list(averaging.some_batches(x, 4))
    assert [batch.shape for batch in seen] == [(4, 2, 2, 1)] * 5
    found, given = (np.unique(np.asarray(each).reshape(20, 4), axis=0) for each in (np.concatenate(seen), images))
    np.testing.assert_array_equal(found, given)
