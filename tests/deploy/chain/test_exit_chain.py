import itertools
import shutil
import subprocess

import keras
import numpy as np
import pytest

from odn_keras import InputError, NetworkSpec, build
from odn_keras.deploy.chain.exit_chain import end_only, export_chain, split, write_header
from odn_keras.deploy.chain.routed_classifier import Chain
from odn_keras.deploy.convert.tflite import int8_with_exits
from odn_keras.deploy.micro.c_array import write_stage_array
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite_file.flatbuffer import METADATA, read_model
from odn_keras.devices.exit_thresholds import NEVER

pytest.importorskip("tensorflow")

SPEC = NetworkSpec("resnet18", (8, 8, 1), 10, width=4, exits=(1, 2))


@pytest.fixture(scope="module")
def whole(digits):
    return int8_with_exits(build(SPEC, 3), digits.train[0][:100])


@pytest.fixture(scope="module")
def stages(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    paths = [folder / f"stage{number}.tflite" for number in (1, 2, 3)]
    for path, content in zip(paths, split(whole), strict=True):
        path.write_bytes(content)
    return paths


def whole_answers(whole, path, images, runtime):
    """int8 outputs of the whole network, the exits in any order."""
    path.write_bytes(whole)
    pixels = [(image[np.newaxis].astype(int) - 128).astype(np.int8) for image in images]
    if runtime == "litert":
        from ai_edge_litert.interpreter import Interpreter

        one = Interpreter(str(path), num_threads=1)
        one.allocate_tensors()
        outputs = [details["index"] for details in one.get_output_details()]
        feed, read = (lambda tensor: one.set_tensor(one.get_input_details()[0]["index"], tensor)), one.get_tensor
    else:
        micro = pytest.importorskip("tflite_micro", reason="pip install 'odn_keras[micro]'")
        one = micro.runtime.Interpreter.from_bytes(whole, arena_size=2**20)
        outputs, feed, read = range(3), (lambda tensor: one.set_input(tensor, 0)), one.get_output
    found = []
    for tensor in pixels:
        feed(tensor)
        one.invoke()
        found.append(sorted(read(output)[0].tolist() for output in outputs))
    return found


@pytest.mark.parametrize("runtime", ["litert", "tflite_micro"])
def test_the_chain_equals_the_whole_network_bit_for_bit(whole, stages, digits, tmp_path, runtime):
    images = digits.test[0][:40]
    expected = whole_answers(whole, tmp_path / "whole.tflite", images, runtime)
    every = Chain(stages, runtime).predict_every_exit(images) * 256 - 128
    assert [sorted(every[:, place].astype(int).tolist()) for place in range(len(images))] == expected


def test_nothing_is_computed_twice_and_nothing_in_float(whole, stages):
    def operators(content):
        graph = read_model(content).subgraphs[0]
        return [graph.tensors[op.outputs[0]].shape.tolist() for op in graph.operators]

    pieces = [path.read_bytes() for path in stages]
    assert sum(len(operators(piece)) for piece in pieces) == len(operators(whole))
    for piece, after in itertools.pairwise(pieces):
        ours, theirs = read_model(piece).subgraphs[0], read_model(after).subgraphs[0]
        handed, taken = ours.tensors[ours.outputs[1]], theirs.tensors[theirs.inputs[0]]
        assert handed.type == taken.type == 9  # int8
        assert handed.quantization.scale == taken.quantization.scale
        assert handed.quantization.zeroPoint == taken.quantization.zeroPoint
    assert all(METADATA in [entry.name for entry in read_model(piece).metadata] for piece in pieces)
    assert sum(map(len, pieces)) < 1.6 * len(whole)


def test_the_end_alone_answers_as_the_chains_end(whole, stages, digits, tmp_path):
    (tmp_path / "end.tflite").write_bytes(end_only(whole))
    images = digits.test[0][:40]
    np.testing.assert_array_equal(
        LiteRTClassifier(tmp_path / "end.tflite").predict(images), Chain(stages).predict(images)
    )


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_a_c_program_knows_order_sizes_and_thresholds(stages, tmp_path):
    write_header(stages, [0.5, NEVER], [f'"{digit}"' for digit in range(10)], tmp_path / "routing.h")
    for stage in stages:
        write_stage_array(stage, stage.stem, tmp_path, arena_bytes=None)
    (tmp_path / "main.cc").write_text(
        '#include "routing.h"\n#include <cstdio>\nint main() { using namespace odn_routing;\n'
        'for (int i = 0; i < kStages; ++i) std::printf("%s %zu %d ", kFiles[i], kInputBytes[i], kThresholds[i]);\n'
        '#define NUMBER(name, NAME) std::printf("%u ", odn_##name::kNumOperators);\n'
        'ODN_ROUTING_STAGES(NUMBER) std::printf("%d %s", kNumClasses, kLabels[9]); }\n'
    )
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", "main", "main.cc"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run(["./main"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert printed == 'stage1.tflite 64 0 stage2.tflite 256 128 stage3.tflite 256 -128 5 5 5 10 "9"'


def test_refuses_networks_that_cannot_be_cut(digits, tmp_path):
    image = keras.Input((8, 8, 1))
    a, b = (keras.layers.Conv2D(2, 3, activation="relu")(image) for _ in range(2))
    flat = [keras.layers.GlobalAveragePooling2D()(x) for x in (a, b)]
    both = keras.layers.Concatenate()(flat)
    dense = keras.layers.Dense
    separate = keras.Model(image, [dense(10, "softmax")(flat[0]), dense(10, "softmax")(both)])
    logits = keras.Model(image, [dense(10)(flat[0]), dense(10)(dense(4)(flat[0]))])
    for network, message in [
        (build(SPEC, 1), "no exit before its end: train with --exits=all"),
        (separate, "cannot be split off"),
        (logits, "no probabilities"),
    ]:
        with pytest.raises(InputError, match=message):
            export_chain(network, digits.train[0][:100], tmp_path)
    assert not list(tmp_path.iterdir())
