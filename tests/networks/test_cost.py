import pytest

from odn_keras import NetworkSpec, build
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


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_parameters_at_every_depth_follow_from_the_blocks(backbone):
    """Independent arithmetic: convolutions without bias, two numbers a channel for each BatchNorm, one head."""
    spec = NetworkSpec(backbone, GREY, 10, width=4)
    channels, blocks = 4, 9 * 4 + 2 * 4
    for depth, block in enumerate(spec.blocks, start=1):
        inner, out = 4 * block.multiplier, 4 * block.out_multiplier
        if block.kind == "basic":
            blocks += 9 * channels * inner + 9 * inner * out + 2 * (inner + out)
        else:
            blocks += channels * inner + 9 * inner * inner + inner * out + 2 * (2 * inner + out)
        if block.stride == 2 or channels != out:
            blocks += channels * out + 2 * out
        channels = out
        assert cost.params(build(spec, depth)) == blocks + 10 * channels + 10


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
