import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.tflite_file import flatbuffer
from odn_keras.deploy.tflite_file.flatbuffer import ALIGNMENT, Tensor

pytest.importorskip("ai_edge_litert")
MODELS = pathlib.Path(__file__).parents[3] / "tflite_models"

TENSORS = st.lists(
    st.builds(lambda size, first, more: Tensor(size, first, first + more), *map(st.integers, (1, 0, 0), (9999, 20, 8))),
    max_size=25,
)


def test_no_two_tensors_that_live_together_overlap():
    @given(TENSORS)
    def holds(tensors):
        offsets = flatbuffer.plan(tensors)
        assert all(offset >= 0 and offset % ALIGNMENT == 0 for offset in offsets)
        for number, (one, begin) in enumerate(zip(tensors, offsets, strict=True)):
            for other, start in list(zip(tensors, offsets, strict=True))[:number]:
                if one.first <= other.last and other.first <= one.last:
                    assert begin + one.size <= start or start + other.size <= begin
        least = flatbuffer.least_bytes(tensors)
        assert least <= flatbuffer.arena_bytes(tensors, offsets) <= sum(tensor.aligned_size for tensor in tensors)

    holds()


def test_a_chain_of_residual_blocks_needs_no_more_than_lives_at_once():
    operators, x = [], 0
    for block in range(6):
        operators += [([x], [3 * block + 1]), ([3 * block + 1], [3 * block + 2]), ([3 * block + 2, x], [3 * block + 3])]
        x = 3 * block + 3
    when = flatbuffer.lifetimes(operators, [0], [x])
    tensors = [Tensor(50_176, *when[index]) for index in sorted(when)]
    assert flatbuffer.arena_bytes(tensors, flatbuffer.plan(tensors)) == flatbuffer.least_bytes(tensors) == 3 * 50_176


@pytest.mark.parametrize("name", ["digits", "fashion_mnist_width16"])
def test_a_compacted_file_computes_the_same_and_is_smaller(tmp_path, name):
    original = MODELS / f"{name}.tflite"
    compacted = tmp_path / "model.tflite"
    compacted.write_bytes(flatbuffer.compact(flatbuffer.without_plan(original.read_bytes())))
    assert compacted.stat().st_size <= original.stat().st_size
    before, after = LiteRTClassifier(original), LiteRTClassifier(compacted)
    assert (before.input, before.output) == (after.input, after.output)
    images = np.random.default_rng(0).integers(0, 256, (20, *before.input_shape)).astype(np.uint8)
    np.testing.assert_array_equal(before.predict_quantized(images), after.predict_quantized(images))


def test_compacting_twice_changes_nothing():
    once = flatbuffer.compact((MODELS / "digits.tflite").read_bytes())
    assert flatbuffer.compact(once) == once


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3" + b"\xff" * 200, b"no model at all" * 20])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(InputError, match="not a readable") as refused:
        flatbuffer.compact(content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_truncated_model_is_refused(kept):
    content = (MODELS / "digits.tflite").read_bytes()
    with pytest.raises(InputError, match="not a readable"):
        flatbuffer.compact(content[: int(kept * len(content))])


def test_a_float_file_is_not_for_a_microcontroller(tmp_path):
    pytest.importorskip("tensorflow")
    from odn_keras import NetworkSpec, build, export_tflite

    path = tmp_path / "float.tflite"
    export_tflite(build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1), None, path, quantize="none")
    with pytest.raises(InputError, match="computes in float"):
        flatbuffer.compact(path.read_bytes())
