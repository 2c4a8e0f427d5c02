"""The benchmark of the kinds of files."""

import subprocess
import sys

import numpy as np
import pytest

from odn_keras import LiteRTClassifier, NetworkSpec, build, export_tflite

pytest.importorskip("ai_edge_litert")
pytestmark = pytest.mark.one_backend


@pytest.mark.parametrize("quantize", ["none", "dynamic", "int8"])
def test_every_kind_of_file_is_fed_its_kind_of_pixels(digits, tmp_path, quantize):
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8), 1)
    images, labels = digits.train
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images.astype("float32"), labels, epochs=15, batch_size=64, verbose=0)
    export_tflite(network, images[:500], tmp_path / "model.tflite", quantize=quantize)
    images, labels = digits.test
    expected = np.mean(network.predict(images.astype("float32"), verbose=0).argmax(-1) == labels)
    assert expected > 0.4
    assert LiteRTClassifier(tmp_path / "model.tflite").accuracy(images, labels) == pytest.approx(expected, abs=0.02)


def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path):
    command = [sys.executable, "-m", "benchmarks.quantization", f"--run={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
