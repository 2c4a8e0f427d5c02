import random

import keras
import numpy as np
import pytest

from odn_keras import Distillation, NetworkSpec, build
from odn_keras.growing.network_in_training import Compilation, NetworkInTraining
from odn_keras.growing.optimizers import OptimizerTemplate
from odn_keras.networks import cost
from odn_keras.networks.elastic import elastic_layers

SPEC = NetworkSpec("resnet18", (8, 8, 1), 4, width=4, exits=(1,))
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1)).astype("float32")


@pytest.fixture
def training():
    network = build(SPEC, 2)
    optimizer = keras.optimizers.SGD(0.1, use_ema=True)
    arguments = {"loss": "sparse_categorical_crossentropy"}
    training = NetworkInTraining(
        network, SPEC, Compilation(arguments, OptimizerTemplate(optimizer, network), None, Distillation())
    )
    training.compile(training.compilation.optimizer.fresh(network))
    return training


def answers(network):
    return [keras.ops.convert_to_numpy(output) for output in network(IMAGES)]


def silence(network, channel):
    """Makes an inner channel of the first block zero throughout."""
    scale, offset, *statistics = network.get_layer("block1_bn1").get_weights()
    scale[channel] = offset[channel] = 0
    network.get_layer("block1_bn1").set_weights([scale, offset, *statistics])


def test_elastic_widths_keep_what_the_end_and_the_exits_have_learned(training):
    before = answers(training.network)
    training.make_elastic()
    assert elastic_layers(training.network) and len(training.whole.outputs) == 1
    for ours, expected in zip(answers(training.network), before, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(training.whole(IMAGES)), before[-1], atol=1e-5)
    assert training.teacher is training.whole and training.training_macs() > training.training_macs_at(2)
    training.make_plain()
    assert not elastic_layers(training.network) and training.teacher is None
    for ours, expected in zip(answers(training.network), before, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_best_epoch_comes_back_whatever_has_become_of_the_network(training):
    before = answers(training.network)
    training.keep_as_best()
    training.deepen()
    assert training.depth == 3
    training.return_to_best()
    for ours, expected in zip(answers(training.network), before, strict=True):
        np.testing.assert_array_equal(ours, expected)
    training.take_best_at(1)
    assert training.depth == 1 and len(training.network.outputs) == 1


def test_a_compact_network_is_the_best_one_and_its_spec_says_so(training):
    training.compact()  # nothing to leave out
    assert training.best is None and training.spec == SPEC
    silence(training.network, 2)
    training.compact()
    assert training.spec.inner_channels(1) == (3,) and training.channels()["inner"] == training.spec.inner
    assert [w.shape for w in training.best.weights] == [w.shape for w in build(training.spec, 2).get_weights()]


def test_averaged_weights_make_room_for_the_raw_ones_again(training):
    raw = [np.array(values) + 1 for values in training.network.get_weights()]
    training.network.set_weights(raw)
    held = []
    training.take_averages([IMAGES], lambda: held.append(training.network.get_weights()))
    averages = {variable.path: value for variable, value in zip(training.network.weights, held[0], strict=True)}
    path = training.network.get_layer("head").bias.path
    np.testing.assert_array_equal(averages[path], 0)  # as it was when the optimizer was built
    training.take_raw_weights()
    for ours, expected in zip(training.network.get_weights(), raw, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert training.raw_weights is None


def test_a_depth_is_costed_without_drawing_random_numbers(training):
    before = random.getstate()
    assert training.training_macs_at(3) == cost.training_macs(build(SPEC, 3)) > training.training_macs_at(1)
    random.setstate(before)
    training.training_macs_at(4)
    assert random.getstate() == before


def test_a_snapshot_restores_shape_weights_and_optimizer(training):
    training.make_elastic()
    training.keep_as_best()
    training.compile(training.compilation.optimizer.fresh(training.network))
    training.fitted.optimizer.iterations.assign(7)
    arrays, channels = training.arrays(metrics=False), training.channels()
    assert arrays["metrics"] == [] and arrays["trained"] == []
    network = build(SPEC, 1)
    other = NetworkInTraining(network, SPEC, training.compilation)
    other.restore_shape(channels, 2, arrays)
    other.compile(other.compilation.optimizer.fresh(other.network))
    other.restore_weights(arrays, 2, best_is_elastic=True)
    for ours, expected in zip(answers(other.network), answers(training.network), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert int(other.fitted.optimizer.iterations) == 7 and other.best.elastic
