"""examples/microcontroller/route.cc takes as many stages as Python does, on the TFLite Micro of the wheel."""

import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from odn_keras import NetworkSpec, RoutedClassifier, build
from odn_keras.deploy.chain.exit_chain import export_chain, write_header
from odn_keras.deploy.chain.routed_classifier import Chain, int8_threshold
from odn_keras.deploy.micro.c_array import write_stage_array
from odn_keras.files import write_json

pytest.importorskip("tensorflow")
tflite_micro = pytest.importorskip("tflite_micro")
pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")

HERE = pathlib.Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "microcontroller"
ARENA_BYTES = 60_000
ROUTE_ALL = """
import ctypes, sys
import numpy as np

runtime, library, images_file, answers_file = sys.argv[1:]
ctypes.CDLL(runtime, mode=ctypes.RTLD_GLOBAL)
route = ctypes.CDLL(library)["_Z5RoutePKhPaPi"]
images = np.load(images_file)
scores, stages = np.zeros((len(images), 10), np.int8), np.zeros(len(images), np.int32)
pointer = lambda array: ctypes.c_void_p(array.ctypes.data)
best = [route(pointer(i), pointer(s), ctypes.byref(n)) for i, s, n in
        zip(images, scores, (ctypes.c_int32.from_buffer(stages, 4 * k) for k in range(len(images))))]
np.savez(answers_file, best=best, scores=scores, stages=stages)
"""


@pytest.fixture(scope="module")
def chain(digits, tmp_path_factory):
    """A chain of three stages, of an untrained network, at whose exits about half of the images leave."""
    folder = tmp_path_factory.mktemp("routed")
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4, exits=(1, 2)), 3)
    for layer in network.layers:
        if hasattr(layer, "kernel") and layer.kernel.shape[-1] == 10:
            layer.kernel.assign(20 * layer.kernel)  # answers that differ
    stages, _ = export_chain(network, digits.train[0][:100], folder)
    return folder, stages


def test_the_program_leaves_where_python_does_with_the_same_scores(chain, digits, tmp_path):
    folder, stages = chain
    images = digits.test[0][:60]
    for stage in stages:
        write_stage_array(stage, stage.stem, folder, arena_bytes=ARENA_BYTES)
    answers = list(Chain(stages).predict_every_exit(images))
    thresholds = [float(np.median(answer.max(axis=-1))) for answer in answers[:-1]]
    write_header(stages, thresholds, list("0123456789"), folder / "routing.h")
    for name in re.findall(r'#include "(tensorflow/.*)"', (EXAMPLE / "route.cc").read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('#include "tflite_micro_abi.h"\n')
    library = tmp_path / "libroute.so"
    includes = [f"-I{path}" for path in (EXAMPLE, tmp_path, HERE, folder)]
    sources = [EXAMPLE / "route.cc", *folder.glob("stage*.cc")]
    compile_ = ["g++", "-Wall", "-Wextra", "-Werror", "-std=c++17", "-O2", "-fPIC", "-shared", *includes]
    subprocess.run([*compile_, "-o", library, *sources], check=True)
    np.save(tmp_path / "images.npy", images)
    runtime = next(pathlib.Path(tflite_micro.__file__).parent.glob("python/tflite_micro/_runtime*.so"))
    arguments = [runtime, library, tmp_path / "images.npy", tmp_path / "answers.npz"]
    subprocess.run([sys.executable, "-c", ROUTE_ALL, *arguments], check=True)
    answers = np.load(tmp_path / "answers.npz")

    routed = {"labels": list("0123456789"), "resize": "stretch", "stages": []}
    for stage, threshold in zip(stages, [*thresholds, None], strict=True):
        row = {"file": stage.name}
        if threshold is not None:
            row |= {"threshold": threshold, "threshold_int8": int8_threshold(threshold)}
        routed["stages"].append(row)
    write_json(routed, folder / "routing.json")
    probabilities, exits = RoutedClassifier(folder, runtime="tflite_micro").route(images)
    np.testing.assert_array_equal(answers["stages"] - 1, exits)
    assert len(set(answers["stages"])) > 1
    np.testing.assert_array_equal((answers["scores"].astype(int) + 128) / 256, probabilities)
    np.testing.assert_array_equal(answers["best"], probabilities.argmax(axis=-1))
