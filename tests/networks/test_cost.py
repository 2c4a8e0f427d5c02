import pytest
from hypothesis import given, settings
from random_specs import specs_and_depths

from odn_keras import NetworkSpec, build, footprint
from odn_keras.networks import cost
from odn_keras.networks.builder import set_frozen

GREY, RGB = (28, 28, 1), (32, 32, 3)


@pytest.mark.parametrize(
    ("backbone", "shape", "classes", "depth", "parameters"),
    [
        ("resnet18", GREY, 10, 2, 149_322),
        ("resnet18", GREY, 10, 8, 11_172_810),
        ("resnet18", GREY, 26, 3, 382_170),
        ("resnet18", GREY, 26, 8, 11_181_018),
        ("resnet34", GREY, 10, 6, 1_044_938),
        ("resnet34", GREY, 10, 16, 21_280_970),
        ("resnet34", RGB, 10, 5, 750_666),
        ("resnet34", RGB, 10, 16, 21_282_122),
    ],
)
def test_parameters_are_those_of_the_papers_table(backbone, shape, classes, depth, parameters):
    spec = NetworkSpec(backbone, shape, classes)
    assert cost.params(build(spec, depth)) == cost.params_of_spec(spec, depth) == parameters


@settings(max_examples=15, deadline=None)
@given(specs_and_depths(deepest=6, exits=True))
def test_parameters_and_macs_of_a_spec_are_those_of_its_network(case):
    spec, depth = case
    network = build(spec, depth)
    statistics = sum(2 * layer.gamma.shape[0] for layer in network.layers if hasattr(layer, "moving_mean"))
    assert cost.params_of_spec(spec, depth) == cost.params(network) == network.count_params() - statistics
    if not spec.exits_before(depth):
        assert footprint.macs(spec, depth) == cost.macs(network)


def test_freezing_changes_the_training_cost_and_nothing_else():
    network = build(NetworkSpec("resnet18", GREY, 10, width=8), 2)
    parameters, forward, thawed = cost.params(network), cost.macs(network), cost.training_macs(network)
    set_frozen(network, 1)
    assert (cost.params(network), cost.macs(network)) == (parameters, forward)
    stem, block, head = 28 * 28 * 9 * 8, 2 * 28 * 28 * 9 * 8 * 8, 80
    assert forward == stem + 2 * block + head
    assert thawed == 3 * forward - stem  # the images need no gradient
    assert cost.training_macs(network) == stem + block + 3 * (block + head) - block // 2


def test_stem_stride_2_quarters_the_macs():
    shape = (32, 32, 3)
    full, strided = (build(NetworkSpec("resnet18", shape, 10, 8, stride), 3) for stride in (1, 2))
    assert cost.macs(full) - 80 * 2 == pytest.approx(4 * (cost.macs(strided) - 80 * 2), rel=1e-3)
