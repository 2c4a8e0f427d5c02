import importlib.util
import os
import pathlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.runtimes import measure, open_classifier

pytest.importorskip("ai_edge_litert")
DIGITS = pathlib.Path(__file__).parents[2] / "tflite_models" / "digits.tflite"


@pytest.mark.parametrize("content", [b"", b"random bytes that are no flatbuffer at all" * 10])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.tflite"):
        LiteRTClassifier(path)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 1)])
def test_what_is_no_image_classifier_is_refused(tmp_path, shape):
    tf = pytest.importorskip("tensorflow")
    import keras

    inputs = keras.Input(batch_shape=(1, *shape))
    outputs = keras.layers.Dense(2)(inputs)
    path = tmp_path / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, outputs)).convert())
    with pytest.raises(InputError, match="no image classifier"):
        LiteRTClassifier(path)


def test_a_measurement_counts_what_is_right_and_takes_the_time():
    classifier = LiteRTClassifier(DIGITS)
    images = np.zeros((5, 8, 8, 1), np.uint8)
    guess = classifier.predict(images[:1]).argmax()
    measured = measure(classifier, images, np.array([guess, guess, guess, guess + 1, guess + 1]))
    assert (measured.images, measured.accuracy) == (5, 0.6)
    assert 0 < measured.median_ms <= measured.p95_ms < 10_000


def test_an_unknown_file_or_runtime_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        open_classifier(tmp_path / "none.tflite")
    if not importlib.util.find_spec("tflite_runtime"):
        with pytest.raises(InputError, match="tflite-runtime"):
            open_classifier(DIGITS, "tflite_runtime")


def test_images_of_another_shape_are_refused(tmp_path):
    from odn_keras import NetworkSpec, build, export_tflite

    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1)
    export_tflite(network, np.zeros((100, 8, 8, 1), np.uint8), tmp_path / "model.tflite")
    with pytest.raises(InputError, match="8, 8, 1"):
        LiteRTClassifier(tmp_path / "model.tflite").predict(np.zeros((1, 9, 9, 1), np.uint8))


def test_images_on_disk_are_classified_like_those_in_memory(tmp_path, monkeypatch):
    from odn_keras import NetworkSpec, build, export_tflite
    from odn_keras.data import disk_images
    from odn_keras.deploy import runtimes

    monkeypatch.setattr(runtimes, "READ_BATCH", 30)
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1)).astype(np.uint8)
    on_disk = disk_images.hold([images], (8, 8, 1), str(tmp_path))
    export_tflite(build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1), on_disk[:], tmp_path / "model.tflite")
    classifier = LiteRTClassifier(tmp_path / "model.tflite")
    np.testing.assert_array_equal(classifier.predict(images), classifier.predict(on_disk))
    labels = classifier.predict(images).argmax(axis=-1)
    assert classifier.accuracy(on_disk, labels) == 1


@pytest.mark.parametrize("runtime", ["litert", "tflite_micro"])
def test_threads_open_share_and_close_classifiers(runtime, capfd):
    """As in a server, whose stdout stays its own."""
    if runtime == "tflite_micro":
        pytest.importorskip("tflite_micro", reason="pip install 'odn_keras[micro]'")
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1)).astype(np.uint8)
    shared = open_classifier(DIGITS, runtime)
    expected = shared.predict(images)
    barrier = threading.Barrier(4)

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(images))
        barrier.wait()
        for _ in range(3):
            os.write(1, b"served\n")
            np.testing.assert_array_equal(shared.predict(images[order]), expected[order])
            with open_classifier(DIGITS, runtime) as own:
                np.testing.assert_array_equal(own.predict(images[:3]), expected[:3])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert capfd.readouterr().out == "served\n" * 12


def test_a_name_that_is_no_utf8_and_a_path_are_taken(tmp_path):
    path = tmp_path / "caf\udce9.tflite"
    path.write_bytes(DIGITS.read_bytes())
    assert open_classifier(path).classes == open_classifier(str(path)).classes == 10


def test_a_file_may_be_replaced_while_it_is_used(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(DIGITS.read_bytes())
    classifier, images = LiteRTClassifier(path), np.zeros((1, 8, 8, 1), np.uint8)
    before = classifier.predict(images)
    path.write_bytes(b"")
    np.testing.assert_array_equal(classifier.predict(images), before)


def test_no_images_have_no_answers():
    classifier = LiteRTClassifier(DIGITS)
    assert classifier.predict(np.zeros((0, 8, 8, 1), np.uint8)).shape == (0, 10)
    assert classifier.predict_quantized(np.zeros((0, 8, 8, 1), np.uint8)).shape == (0, 10)


def test_what_must_be_installed_is_reported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(InputError, match=r'needs NumPy 1, this is NumPy 2\.1\.0: pip install "numpy<2"'):
        open_classifier(DIGITS, "tflite_runtime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match="needs ai-edge-litert: pip install ai-edge-litert"):
        open_classifier(DIGITS)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        open_classifier(tmp_path)
