import pytest

from odn_keras import RunOptions
from odn_keras.growing import precision as module
from odn_keras.growing.precision import precision


@pytest.mark.parametrize(
    ("tensorflow", "instructions", "depthwise", "policy"),
    [
        (True, True, False, "mixed_bfloat16"),
        (True, True, True, "float32"),
        (True, False, False, "float32"),
        (False, True, False, "float32"),
    ],
)
def test_auto_is_what_is_faster(monkeypatch, tensorflow, instructions, depthwise, policy):
    monkeypatch.setattr(module, "_tensorflow_on_cpu", lambda: tensorflow)
    monkeypatch.setattr(module, "_cpu_has_bfloat16", lambda: instructions)
    assert precision(depthwise=depthwise) == precision("auto", depthwise=depthwise) == policy
    assert precision("mixed_bfloat16", depthwise=depthwise) == "mixed_bfloat16"


def test_options_know_which_backbones_are_depthwise():
    depthwise = {
        name for name in ("resnet8", "resnet50", "ds_cnn", "mobilenetv2") if RunOptions(backbone=name).depthwise
    }
    assert depthwise == {"ds_cnn", "mobilenetv2"}
