"""What a network has of the one that it starts from."""

import dataclasses

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_specs import specs_and_depths

from odn_keras import InputError, NetworkSpec, OptimallyDeepNetwork, build
from odn_keras.networks.builder import depth_of
from odn_keras.networks.start import Start

SPEC = NetworkSpec("resnet18", (8, 8, 3), 4, width=4)


def scrambled(spec, depth):
    """A network whose weights and statistics are those of no fresh one."""
    network, rng = build(spec, depth), np.random.default_rng(0)
    network.set_weights([rng.uniform(0.1, 1.0, w.shape).astype("float32") for w in network.get_weights()])
    return network


def features(network, depth, images):
    """Output of the last layer of a block."""
    layers = [layer for layer in network.layers if layer.name.startswith(f"block{depth}_") and "exit" not in layer.name]
    return keras.ops.convert_to_numpy(keras.Model(network.input, layers[-1].output)(images, training=False))


def images_of(channels, count=3):
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, channels)).astype("float32")


@settings(max_examples=15, deadline=None)
@given(specs_and_depths(deepest=6), st.integers(0, 2))
def test_a_network_of_other_classes_computes_the_features_of_its_start(case, deeper):
    spec, depth = case
    start = scrambled(spec, depth)
    other = dataclasses.replace(spec, num_classes=spec.num_classes + 1)
    model = OptimallyDeepNetwork(spec=other, depth=min(depth + deeper, spec.max_depth), start_from=start)
    images = np.random.default_rng(1).integers(0, 256, (2, *spec.input_shape)).astype("float32")
    np.testing.assert_array_equal(features(model.network, depth, images), features(start, depth, images))
    assert (model.carried.blocks, model.carried.start_blocks) == (depth, depth)
    assert OptimallyDeepNetwork(spec=other, start_from=start).depth == depth


def test_a_shallower_network_gets_the_first_blocks():
    start = scrambled(SPEC, 3)
    model = OptimallyDeepNetwork(spec=SPEC, depth=2, start_from=start)
    assert (model.depth, model.carried.blocks) == (2, 2)
    np.testing.assert_array_equal(features(model.network, 2, images_of(3)), features(start, 2, images_of(3)))


def test_the_head_is_new_even_where_it_would_fit():
    start = scrambled(SPEC, 2)
    head, theirs = (
        each.get_layer("head").kernel for each in (OptimallyDeepNetwork(spec=SPEC, start_from=start), start)
    )
    assert not np.array_equal(head, theirs)


@pytest.mark.parametrize(
    ("there", "here", "stem"), [(1, 3, "repeated for the colours"), (3, 1, "summed over the colours")]
)
def test_grey_images_are_seen_alike_by_a_colour_network_and_the_other_way_round(there, here, stem):
    start = scrambled(dataclasses.replace(SPEC, input_shape=(8, 8, there)), 2)
    model = OptimallyDeepNetwork(spec=dataclasses.replace(SPEC, input_shape=(8, 8, here)), start_from=start)
    grey = images_of(1)
    seen = {1: grey, 3: np.repeat(grey, 3, axis=-1)}
    expected = features(start, 2, seen[there])
    np.testing.assert_allclose(features(model.network, 2, seen[here]), expected, rtol=1e-4)
    assert model.carried.stem == stem


def test_images_in_other_units_are_seen_alike_where_their_scale_says_so():
    start = scrambled(dataclasses.replace(SPEC, input_scale=1 / 255), 2)
    model = OptimallyDeepNetwork(spec=dataclasses.replace(SPEC, input_scale=1.0), start_from=start)
    expected = features(start, 2, images_of(3))
    np.testing.assert_allclose(features(model.network, 2, images_of(3) / 255), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "pruned",
    [{"inner": ((3,), (2,))}, {"inner": ((3,), (2,)), "stream": (3,)}, {"stream": (2, 7)}],
    ids=["inner", "inner and stream", "a stream that begins later"],
)
def test_a_pruned_start_hands_its_channels_on(pruned):
    spec = dataclasses.replace(SPEC, num_classes=3)
    start = scrambled(dataclasses.replace(spec, **pruned), 3)
    model = OptimallyDeepNetwork(spec=spec, start_from=start)
    np.testing.assert_array_equal(features(model.network, 3, images_of(3)), features(start, 3, images_of(3)))
    assert model.carried.pruned and "pruning" in model.carried.describe()
    assert build(model.spec, 4).get_layer("block4_conv1").kernel.shape[-1] == 8  # what follows has the whole width


def test_blocks_that_two_backbones_share_are_carried_over():
    start = scrambled(NetworkSpec("resnet18", (8, 8, 3), 4, width=4), 4)  # resnet20 has a third block of width 4
    model = OptimallyDeepNetwork("resnet20", (8, 8, 3), 4, width=4, start_from=start)
    assert (depth_of(model.network), model.carried.blocks, model.carried.start_blocks) == (2, 2, 4)


def network_of_another_kind():
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="block1_conv1")])


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (network_of_another_kind, "another kind of network"),
        (lambda: build(dataclasses.replace(SPEC, width=8), 2), "give width 8, that of the start"),
        (lambda: build(dataclasses.replace(SPEC, width=2), 2), "give width 2, that of the start"),
        (lambda: build(dataclasses.replace(SPEC, backbone="ds_cnn"), 2), "no block of the start ds_cnn_depth2 fits"),
        (lambda: build(dataclasses.replace(SPEC, input_shape=(8, 8, 2)), 2), "images of 3 channels.*stem_conv"),
        (lambda: build(dataclasses.replace(SPEC, backbone="resnet50"), 2), "no block of the start resnet50_depth2"),
    ],
)
def test_a_start_of_which_nothing_fits_is_refused_in_one_line(start, words):
    with pytest.raises(InputError, match=words) as refused:
        Start(start(), SPEC)
    assert "\n" not in str(refused.value)
