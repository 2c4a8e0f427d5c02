import pathlib

import numpy as np
import pytest

from odn_keras import InputError, LiteRTClassifier
from odn_keras.deploy.feeding import Quantization, float_feed, integer_feed
from odn_keras.deploy.runtimes import open_interpreter
from odn_keras.deploy.tflite_file.flatbuffer import read_model, write_model
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.deploy.tflite_file.metadata import with_metadata
from odn_keras.deploy.tflite_file.normalization_metadata import normalization_of

pytest.importorskip("ai_edge_litert")
MODELS = pathlib.Path(__file__).parents[2] / "tflite_models"
PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        (np.int8, 1 / 255, -128, np.arange(256) - 128),
        (np.int8, 1.0, -128, np.arange(256) - 128),
        (np.int8, 2 / 255, 0, np.arange(256) - 128),
        (np.uint8, 1 / 128, 128, np.arange(256)),  # MobileNet's
        (np.uint8, 1 / 255, 0, np.arange(256)),
        (np.uint8, 0.0, 0, np.arange(256)),  # not quantised
        (np.int8, 1.037 / 255, -128, np.round(np.arange(256) / 1.037) - 128),
        (np.int8, 0.97 / 255, -128, np.minimum(np.round(np.arange(256) / 0.97) - 128, 127)),
        (np.uint8, 2.08 / 255, 126, np.round((np.arange(256) / 127.5 - 1) / (2.08 / 255)) + 126),
    ],
)
def test_pixels_are_quantised_as_the_input_is(dtype, scale, zero_point, expected):
    feed = integer_feed("model.tflite", dtype, Quantization(scale, zero_point))
    fed = feed(PIXELS)
    assert fed.dtype == dtype and fed.shape == PIXELS.shape
    np.testing.assert_array_equal(fed.ravel(), expected)
    shift = {np.int8: "p - 128", np.uint8: "p"}[dtype]
    assert feed.words.endswith(f"number {shift}") == bool((expected == np.arange(256) + np.iinfo(dtype).min).all())


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point"),
    [(np.uint8, 0.0187, 114), (np.int8, 1.0, 0), (np.int8, 0.0, 0), (np.int8, 0.5 / 255, -128), (np.uint8, 1.1, 123)],
)
def test_an_input_of_another_range_is_refused(dtype, scale, zero_point):
    with pytest.raises(InputError, match=f"m.tflite .*scale {scale:.6g} and zero point {zero_point} ") as refused:
        integer_feed("m.tflite", dtype, Quantization(scale, zero_point))
    assert "\n" not in str(refused.value)


def other_input(scale: float, zero_point: int) -> bytes:
    """The digits' file, its input quantised in another way."""
    model = read_model((MODELS / "digits.tflite").read_bytes())
    (graph,) = model.subgraphs
    quantization = graph.tensors[graph.inputs[0]].quantization
    quantization.scale, quantization.zeroPoint = [scale], [zero_point]
    return write_model(model)


def test_a_foreign_file_gets_what_its_quantisation_says(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(other_input(1.037 / 255, -128))
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)
    interpreter = open_interpreter(path)
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    for image, found in zip(images, LiteRTClassifier(path).predict_quantized(images), strict=True):
        interpreter.set_tensor(entry["index"], (np.round(image / 1.037) - 128).astype(np.int8)[np.newaxis])
        interpreter.invoke()
        np.testing.assert_array_equal(found, interpreter.get_tensor(answer["index"])[0])
    path.write_bytes(other_input(0.02, -10))
    with pytest.raises(InputError, match=r"scale 0\.02 and zero point -10"):
        LiteRTClassifier(path).run(images[0])


@pytest.fixture(scope="module")
def float_file(tmp_path_factory):
    pytest.importorskip("tensorflow")
    from odn_keras import NetworkSpec, build, export_tflite

    path = tmp_path_factory.mktemp("float") / "model.tflite"
    export_tflite(build(NetworkSpec("resnet18", (8, 8, 3), 10, width=2), 1), None, path, quantize="none")
    return path


def test_a_float_file_gets_what_its_metadata_says(float_file, tmp_path):
    normalised = tmp_path / "normalised.tflite"
    normalised.write_bytes(with_metadata(float_file.read_bytes(), list("abcdefghij"), name="n", description="d"))
    assert normalization_of(normalised) == ([0.0], [255.0])
    raw, classifier = LiteRTClassifier(float_file), LiteRTClassifier(normalised)
    assert "does not say" in raw.assumption and classifier.assumption is None
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    interpreter = open_interpreter(float_file)
    (entry,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    for each, fed in ((raw, image), (classifier, image / 255)):
        interpreter.set_tensor(entry["index"], fed[np.newaxis].astype(np.float32))
        interpreter.invoke()
        np.testing.assert_allclose(each.run(image), interpreter.get_tensor(answer["index"])[0], rtol=1e-5)


def test_channels_may_differ(monkeypatch):
    monkeypatch.setattr("odn_keras.deploy.feeding.normalization_of", lambda path: ([1.0, 2.0, 3.0], [2.0, 4.0, 8.0]))
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    np.testing.assert_allclose(float_feed("m.tflite", 3)(image), (image - [1, 2, 3]) / np.array([2, 4, 8]))
    with pytest.raises(InputError, match="normalisation that cannot be"):
        float_feed("m.tflite", 1)


@pytest.mark.parametrize("cut_at", [0, 7, 100, 5000, 80_000])
def test_damaged_metadata_are_none(tmp_path, cut_at):
    path = tmp_path / "model.tflite"
    path.write_bytes((MODELS / "digits_rgb.tflite").read_bytes()[:cut_at])
    assert normalization_of(path) in (None, ([0.0], [255.0]))


def test_logits_are_no_probabilities(tmp_path):
    graph = Graph((MODELS / "digits.tflite").read_bytes())
    (before_softmax,) = graph.reads(graph.maker(graph.outputs[0]))
    logits = tmp_path / "logits.tflite"
    logits.write_bytes(graph.cut(graph.ancestors(before_softmax), graph.inputs[0], [before_softmax]))
    assert LiteRTClassifier(MODELS / "digits.tflite").gives_probabilities()
    assert not LiteRTClassifier(logits).gives_probabilities()
