import numpy as np
import pytest

from benchmarks.footprint import random_network
from odn_keras import Block, Convolution, InputError, NetworkSpec, build, export_tflite, footprint
from odn_keras.networks import cost
from odn_keras.networks.backbones import Backbone

pytest.importorskip("tensorflow")

OWN = Backbone(
    "own",
    [
        Block([Convolution(1.5, kernel=1, activation="relu6"), Convolution(depthwise=True, kernel=5)], shortcut=None),
        Block([Convolution(depthwise=True, stride=2), Convolution(2, kernel=1)], shortcut="project", activation=None),
        Block([Convolution(depthwise=True)]),
    ],
)

SPECS = [
    (NetworkSpec("resnet18", (28, 28, 1), 10, 4), 1),
    (NetworkSpec("resnet18", (32, 32, 3), 100, 8), 4),
    (NetworkSpec("resnet34", (27, 30, 1), 2, 12, stem_stride=2, inner=((5,), (), (9,)), stream=(10, 21)), 4),
    (NetworkSpec("resnet50", (16, 16, 3), 26, 4, inner=((3, 5),)), 2),
    (NetworkSpec("resnet18", (8, 8, 1), 10, 4, stem_stride=2), 1),
    (NetworkSpec("ds_cnn", (28, 28, 1), 10, 8), 1),
    (NetworkSpec("mobilenetv2", (32, 32, 3), 10, 8, inner=((), (20,))), 4),
    (NetworkSpec(OWN, (24, 24, 3), 5, 16), 3),
]


@pytest.mark.parametrize(("spec", "depth"), SPECS)
def test_flash_and_arena_are_predicted_within_two_percent(tmp_path, spec, depth):
    pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
    from odn_keras.deploy.micro.tflite_micro import measure_arena

    path = tmp_path / "model.tflite"
    images = np.random.default_rng(0).integers(0, 256, (100, *spec.input_shape)).astype(np.uint8)
    flash = export_tflite(random_network(spec, depth), images, path)
    assert footprint.flash_bytes(spec, depth) == pytest.approx(flash, rel=0.02)
    assert footprint.arena_bytes(spec, depth) == pytest.approx(measure_arena(path), rel=0.02)


@pytest.mark.parametrize(("spec", "depth"), SPECS)
def test_macs_are_those_of_the_network(spec, depth):
    assert footprint.macs(spec, depth) == cost.macs(build(spec, depth))


@pytest.mark.parametrize("text", ["", "KB", "-1", "0", "0.1", "256 KiB", "1e3", "1TB", "nan", "9999999999MB"])
def test_what_is_no_number_of_bytes_is_refused(text):
    with pytest.raises(InputError, match="give a number of bytes"):
        footprint.parse_bytes(text)
