import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_specs import examples, specs_and_depths

from odn_keras import InputError, NetworkSpec, build
from odn_keras.networks.builder import inner_layers, transfer_weights
from odn_keras.networks.elastic import (
    FRACTIONS,
    active_channels,
    draw_widths,
    elastic_layers,
    set_widths,
    shrinking,
    widen,
)
from odn_keras.networks.extraction import cut_out, sort_channels


def elastic_network(spec, depth):
    """With random weights and statistics."""
    network = build(spec, depth, "float32", elastic=True)
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights and not layer.name.count("elastic"):
            layer.set_weights([rng.normal(1 if w.ndim == 1 else 0, 0.3, w.shape) for w in layer.get_weights()])
        if isinstance(layer, keras.layers.BatchNormalization):
            *others, variance = layer.get_weights()
            layer.set_weights([*others, np.abs(variance) + 0.1])
    return network


def answers(network, images):
    return [keras.ops.convert_to_numpy(output) for output in keras.tree.flatten(network(images, training=False))]


def pixels(spec):
    return np.random.default_rng(1).integers(0, 256, (4, *spec.input_shape)).astype("float32")


@examples(10)
@given(specs_and_depths(exits=True), st.data())
def test_what_is_cut_out_computes_what_the_masked_network_does(case, data):
    spec, depth = case
    network = elastic_network(spec, depth)
    fractions = [data.draw(st.sampled_from(FRACTIONS)) for _ in elastic_layers(network)]
    set_widths(network, fractions)
    masked = answers(network, pixels(spec))
    left = iter(fractions)
    inner = tuple(
        tuple(active_channels(channels, next(left)) for channels in spec.inner_channels(number))
        for number in range(1, depth + 1)
    )
    for place, expected in zip((*spec.exits_before(depth), depth), masked, strict=True):
        cut = cut_out(network, spec, place, inner[:place])
        assert not elastic_layers(cut)
        np.testing.assert_allclose(answers(cut, pixels(spec))[0], expected, atol=1e-5)


@examples(8)
@given(specs_and_depths(exits=True))
def test_sorted_channels_compute_the_same_and_the_first_matter_most(case):
    spec, depth = case
    network = elastic_network(spec, depth)
    before = answers(network, pixels(spec))
    sort_channels(network, spec)
    for expected, found in zip(before, answers(network, pixels(spec)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for number in range(1, depth + 1):
        for group in inner_layers(spec, number):
            last, reader = group[-2:]
            scale, offset, *_ = network.get_layer(last.replace("conv", "bn")).get_weights()
            importance = np.hypot(scale, offset) * np.abs(network.get_layer(reader).get_weights()[0]).sum(
                axis=(0, 1, 3)
            )
            assert np.all(np.diff(importance) <= 1e-5 * importance[0])


def test_widths_shrink_step_by_step_and_are_drawn_by_the_generator():
    network = build(NetworkSpec("resnet50", (8, 8, 1), 2, 4), 2, elastic=True)
    assert list(shrinking(4)) == [0.75, 0.5, 0.25, 0.25]
    drawn = []
    for seed in range(40):
        draw_widths(network, 0.5, np.random.default_rng(seed))
        drawn.append(tuple(int(layer.active) for layer in elastic_layers(network)))
    assert {width for widths in drawn for width in widths} == {2, 3, 4}
    assert 4 <= drawn.count((4, 4, 4, 4)) <= 20
    draw_widths(network, 0.5, np.random.default_rng(7))
    assert tuple(int(layer.active) for layer in elastic_layers(network)) == drawn[7]
    widen(network)
    assert all(int(layer.active) == 4 for layer in elastic_layers(network))


def test_more_channels_than_there_are_cannot_be_cut_out():
    spec = NetworkSpec("resnet18", (8, 8, 1), 2, 4)
    with pytest.raises(InputError, match="block1_conv1 has weights of"):
        cut_out(build(spec, 1), spec, 1, ((5,),))


def test_an_elastic_network_takes_the_weights_of_a_plain_one():
    spec = NetworkSpec("resnet18", (8, 8, 1), 2, 4)
    plain, elastic = build(spec, 2), build(spec, 2, elastic=True)
    assert transfer_weights(plain, elastic) == ["block1_elastic1", "block2_elastic1"]
    np.testing.assert_array_equal(answers(plain, pixels(spec))[0], answers(elastic, pixels(spec))[0])
