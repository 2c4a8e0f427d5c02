import pathlib

import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.deploy.micro import tflite_micro
from odn_keras.deploy.micro.tflite_micro import MicroClassifier, measure_arena
from odn_keras.deploy.runtimes import LiteRTReferenceClassifier
from odn_keras.deploy.tflite_file import flatbuffer

pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
MODELS = pathlib.Path(__file__).parents[3] / "tflite_models"


@pytest.fixture
def files(tmp_path):
    """A shipped model with a memory plan and without."""
    content = (MODELS / "fashion_mnist_width16.tflite").read_bytes()
    planned, unplanned = tmp_path / "planned.tflite", tmp_path / "unplanned.tflite"
    planned.write_bytes(flatbuffer.strip_tensor_names(content))
    unplanned.write_bytes(flatbuffer.without_plan(content))
    return planned, unplanned


def test_the_plan_saves_memory_and_changes_no_output(files):
    planned, unplanned = (measure_arena(file) for file in files)
    assert planned < 0.85 * unplanned
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1)).astype(np.uint8)
    with_plan, without = (MicroClassifier(file).predict_quantized(images) for file in files)
    np.testing.assert_array_equal(with_plan, without)
    tight = MicroClassifier(files[0], arena_bytes=planned)
    np.testing.assert_array_equal(tight.predict_quantized(images), with_plan)
    with pytest.raises(InputError, match=f"arena of {planned - 16} bytes"):
        MicroClassifier(files[0], arena_bytes=planned - 16)


def test_it_computes_what_litert_does(digits):
    images = digits.test[0][:50]
    answers, expected = (
        runtime(MODELS / "digits.tflite").predict_quantized(images).astype(int)
        for runtime in (MicroClassifier, LiteRTReferenceClassifier)
    )
    assert np.abs(answers - expected).max() <= 1
    assert MicroClassifier(MODELS / "digits.tflite").accuracy(*[part[:100] for part in digits.test]) > 0.95


@pytest.mark.parametrize("damage", ["random", "truncated", "float"])
def test_what_would_crash_tflite_micro_is_refused(tmp_path, damage):
    path = tmp_path / "model.tflite"
    if damage == "float":
        pytest.importorskip("tensorflow")
        from odn_keras import NetworkSpec, build, export_tflite

        export_tflite(build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1), None, path, quantize="none")
    else:
        content = (MODELS / "digits.tflite").read_bytes()
        path.write_bytes(content[:5000] if damage == "truncated" else b"random" * 100)
    for use in (MicroClassifier, measure_arena):
        with pytest.raises(InputError) as refused:
            use(path)
        assert "\n" not in str(refused.value)


def test_an_operator_that_tflite_micro_lacks_is_named(tmp_path):
    pytest.importorskip("tensorflow")
    import keras

    from odn_keras import export_tflite

    images = keras.Input((8, 8, 1))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="gelu")(images))
    network = keras.Model(images, keras.layers.Dense(10, activation="softmax")(features))
    pixels = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1)).astype(np.uint8)
    export_tflite(network, pixels, tmp_path / "model.tflite")
    for use in (MicroClassifier, measure_arena):
        with pytest.raises(InputError, match="no operator GELU"):
            use(tmp_path / "model.tflite")


def test_an_operator_that_fails_is_reported_after_one_try(tmp_path, monkeypatch):
    """No larger arena would help."""
    tf = pytest.importorskip("tensorflow")
    import keras

    images = keras.Input(batch_shape=(1, 8, 8, 1))
    network = keras.Model(images, keras.layers.Dense(3)(keras.layers.Flatten()(keras.ops.sqrt(images))))
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[255 * np.eye(8, dtype=np.float32).reshape(1, 8, 8, 1)]]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    tries, tried = [], tflite_micro._tried
    monkeypatch.setattr(tflite_micro, "_tried", lambda *arguments: tries.append(arguments) or tried(*arguments))
    for use in (measure_arena, MicroClassifier):
        with pytest.raises(InputError, match=r"cannot run the operator SQRT of .* \(.*INT8 != FLOAT32\)") as refused:
            use(tmp_path / "model.tflite")
        assert "\n" not in str(refused.value)
    assert len(tries) == 2
