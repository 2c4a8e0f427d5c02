import pathlib

import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.tflite_file import flatbuffer

pytest.importorskip("ai_edge_litert")
MODELS = pathlib.Path(__file__).parents[3] / "tflite_models"


@pytest.mark.parametrize("name", ["digits", "fashion_mnist_width16"])
def test_a_file_without_tensor_names_computes_the_same_and_is_smaller(tmp_path, name):
    original = MODELS / f"{name}.tflite"
    stripped = tmp_path / "model.tflite"
    stripped.write_bytes(flatbuffer.strip_tensor_names(flatbuffer.without_plan(original.read_bytes())))
    assert stripped.stat().st_size <= original.stat().st_size
    before, after = LiteRTClassifier(original), LiteRTClassifier(stripped)
    assert (before.input, before.output) == (after.input, after.output)
    images = np.random.default_rng(0).integers(0, 256, (20, *before.input_shape)).astype(np.uint8)
    np.testing.assert_array_equal(before.predict_quantized(images), after.predict_quantized(images))


def test_stripping_twice_changes_nothing():
    once = flatbuffer.strip_tensor_names((MODELS / "digits.tflite").read_bytes())
    assert flatbuffer.strip_tensor_names(once) == once


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 200, b"no model at all" * 20])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(InputError, match="not a readable") as refused:
        flatbuffer.strip_tensor_names(content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_model_is_refused(kept):
    content = (MODELS / "digits.tflite").read_bytes()
    with pytest.raises(InputError, match="not a readable"):
        flatbuffer.strip_tensor_names(content[: int(kept * len(content))])


def test_a_float_file_is_not_for_a_microcontroller(tmp_path):
    pytest.importorskip("tensorflow")
    from odn_keras import NetworkSpec, build, export_tflite

    path = tmp_path / "float.tflite"
    export_tflite(build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1), None, path, quantize="none")
    with pytest.raises(InputError, match="computes in float"):
        flatbuffer.strip_tensor_names(path.read_bytes())
