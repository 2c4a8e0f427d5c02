import itertools

import pytest

from odn_keras import InputError, NetworkSpec
from odn_keras.networks.backbones import BACKBONES


def test_block_counts_are_the_papers():
    depths = {name: backbone.max_depth for name, backbone in BACKBONES.items()}
    resnets = {"resnet8": 3, "resnet18": 8, "resnet20": 9, "resnet34": 16, "resnet50": 16}
    assert depths == resnets | {"ds_cnn": 8, "mobilenetv2": 17}


def test_only_the_first_block_of_a_later_stage_halves_the_resolution():
    for name in BACKBONES.keys() - {"mobilenetv2"}:
        for earlier, later in itertools.pairwise(range(1, BACKBONES[name].max_depth + 1)):
            wider = BACKBONES[name].out(later) > BACKBONES[name].out(earlier)
            assert BACKBONES[name].blocks[later - 1].stride == (2 if wider else 1)


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
