import pathlib

import numpy as np
import pytest

from odn_keras import LiteRTClassifier
from odn_keras.deploy.tflite_file.graph import Graph

pytest.importorskip("ai_edge_litert")
MODEL = pathlib.Path(__file__).parents[3] / "tflite_models" / "digits.tflite"


@pytest.fixture(scope="module")
def graph():
    return Graph(MODEL.read_bytes())


def test_an_output_needs_every_operator_and_an_input_none(graph):
    (entry,), (output,) = graph.inputs, graph.outputs
    assert graph.maker(entry) is None and not graph.ancestors(entry)
    last = graph.maker(output)
    assert graph.ancestors(output) == set(range(last + 1))
    assert graph.writes(last) == [output] and graph.of_kind(graph.kind(last)) == [last]
    assert graph.quantization(output) == (1 / 256, -128) and graph.shape(entry)[0] == 1


def test_a_graph_cut_at_no_border_computes_what_it_did(graph, tmp_path):
    path = tmp_path / "whole.tflite"
    path.write_bytes(graph.cut(graph.ancestors(graph.outputs[0]), graph.inputs[0], graph.outputs))
    before, after = LiteRTClassifier(MODEL), LiteRTClassifier(path)
    images = np.random.default_rng(0).integers(0, 256, (10, *before.input_shape)).astype(np.uint8)
    np.testing.assert_array_equal(before.predict_quantized(images), after.predict_quantized(images))


def test_a_part_has_its_own_operators_and_tensors_only(graph):
    last = graph.maker(graph.outputs[0])
    (entry,) = graph.reads(last)
    part = Graph(graph.cut([last], entry, graph.outputs))
    assert part.reads(0) == part.inputs and part.writes(0) == part.outputs
    assert part.shape(part.inputs[0]) == graph.shape(entry) and part.ancestors(part.outputs[0]) == {0}
