import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier

pytest.importorskip("ai_edge_litert")


@pytest.mark.parametrize("content", [b"", b"random bytes that are no flatbuffer at all" * 10])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.tflite"):
        LiteRTClassifier(path)


def test_a_float_model_is_refused(tmp_path):
    tf = pytest.importorskip("tensorflow")
    import keras

    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    with pytest.raises(InputError, match="int8"):
        LiteRTClassifier(path)


def test_images_of_another_shape_are_refused(tmp_path):
    from odn_keras import NetworkSpec, build, export_tflite

    network = build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1)
    export_tflite(network, np.zeros((100, 8, 8, 1), np.uint8), tmp_path / "model.tflite")
    with pytest.raises(InputError, match="8, 8, 1"):
        LiteRTClassifier(tmp_path / "model.tflite").predict(np.zeros((1, 9, 9, 1), np.uint8))


def test_images_on_disk_are_classified_like_those_in_memory(tmp_path, monkeypatch):
    from odn_keras import NetworkSpec, build, export_tflite, spool
    from odn_keras.deploy import runtimes

    monkeypatch.setattr(runtimes, "READ_BATCH", 30)
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1)).astype(np.uint8)
    on_disk = spool.hold([images], (8, 8, 1), str(tmp_path))
    export_tflite(build(NetworkSpec("resnet18", (8, 8, 1), 2, width=1), 1), on_disk[:], tmp_path / "model.tflite")
    classifier = LiteRTClassifier(tmp_path / "model.tflite")
    np.testing.assert_array_equal(classifier.predict(images), classifier.predict(on_disk))
    labels = classifier.predict(images).argmax(axis=-1)
    assert classifier.accuracy(on_disk, labels) == 1
