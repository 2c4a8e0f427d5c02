import itertools

import pytest

from odn_keras import InputError, NetworkSpec
from odn_keras.networks.architectures import BACKBONES


def test_block_counts_are_the_papers():
    assert {name: len(blocks) for name, blocks in BACKBONES.items()} == {"resnet18": 8, "resnet34": 16, "resnet50": 16}


def test_only_the_first_block_of_a_later_stage_halves_the_resolution():
    for blocks in BACKBONES.values():
        for earlier, later in itertools.pairwise(blocks):
            assert later.stride == (2 if later.multiplier > earlier.multiplier else 1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone": "resnet19"}, "resnet19"),
        ({"width": 0}, "got 0"),
        ({"num_classes": 1}, "got 1"),
        ({"stem_stride": 3}, "got 3"),
        ({"input_shape": (28, 28)}, "28"),
        ({"inner": ((64,), (64, 64))}, r"block 2 of resnet18 are 1 numbers of at least 1, got \(64, 64\)"),
        ({"inner": ((0,),)}, "got"),
        ({"exits": (2, 9)}, "exits at depths 1 to 8, got 9"),
    ],
)
def test_a_bad_spec_is_refused_with_the_value(changed, message):
    good = {"backbone": "resnet18", "input_shape": (28, 28, 1), "num_classes": 10}
    with pytest.raises(InputError, match=message):
        NetworkSpec(**(good | changed))


@pytest.mark.parametrize("depth", [0, 9, -1])
def test_a_depth_outside_the_backbone_is_refused(depth):
    with pytest.raises(InputError, match=f"1 to 8, got {depth}"):
        NetworkSpec("resnet18", (28, 28, 1), 10).check_depth(depth)
