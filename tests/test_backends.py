"""One behaviour on three backends: the same run on each, and each one's files under all of them."""

import json
import os
import pathlib
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")
RUN = ["--dataset=digits", "--width=16", "--epochs=16", "--cycle_epochs=8", "--target_accuracy=0.9"]

LOOK = """
import json, sys
import keras, numpy as np
from odn_keras import NetworkSpec, build, deepen, export_tflite, load_dataset
from odn_keras.networks import cost

out, model_files = sys.argv[1], sys.argv[2:]
dataset = load_dataset("digits")
images = dataset.test[0].astype("float32")
networks = [keras.saving.load_model(file) for file in model_files]
np.savez(f"{out}/outputs.npz", *[network.predict(images, verbose=0) for network in networks])
export_tflite(networks[0], dataset.train[0][:1000], f"{out}/first.tflite")

spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=4)
network, grown = build(spec, 1), []
for _ in range(3):
    network, fresh = deepen(network, spec)
    frozen = [layer.name for layer in network.layers if layer.weights and not layer.trainable]
    grown.append([fresh, frozen, cost.params(network), cost.macs(network), cost.training_macs(network)])
print(json.dumps(grown))
"""


def environment(backend):
    return {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of the same run under each backend."""
    folders = {}
    for backend in BACKENDS:
        pytest.importorskip(backend)
        folders[backend] = tmp_path_factory.mktemp(backend) / "run"
        command = [sys.executable, "-m", "odn_keras.train", f"--out={folders[backend]}", *RUN]
        result = subprocess.run(command, env=environment(backend), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
    return folders


@pytest.fixture(scope="module")
def looks(runs, tmp_path_factory):
    """What each backend sees in the three networks: (folder with outputs and a .tflite, how a network grows)."""
    found = {}
    for backend in BACKENDS:
        out = tmp_path_factory.mktemp(f"look_{backend}")
        command = [sys.executable, "-c", LOOK, str(out), *(str(folder / "model.keras") for folder in runs.values())]
        result = subprocess.run(command, env=environment(backend), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
        found[backend] = out, json.loads(result.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_small_run_is_as_good_on_every_backend(runs, backend):
    report = json.loads((runs[backend] / "report.json").read_text())
    assert report["backend"] == backend
    assert report["test_accuracy"] > 0.85
    assert abs(report["int8_test_accuracy"] - report["test_accuracy"]) < 0.02
    assert report["input"]["largest_error_steps"] < 1


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_any_backend_loads_what_any_other_saved_and_computes_the_same(looks, backend):
    with (
        np.load(looks["tensorflow"][0] / "outputs.npz") as expected,
        np.load(looks[backend][0] / "outputs.npz") as found,
    ):
        assert len(expected.files) == len(BACKENDS)
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_networks_grow_by_the_same_book_everywhere(looks):
    _, grown = looks["tensorflow"]
    assert len(grown) == 3 and grown[0][0] and grown[0][1]
    assert all(looks[backend][1] == grown for backend in BACKENDS)


def test_the_exported_file_is_the_same_whatever_exports_it(looks, runs):
    exported = [(looks[backend][0] / "first.tflite").read_bytes() for backend in BACKENDS]
    assert exported == [(runs[BACKENDS[0]] / "model.tflite").read_bytes()] * len(BACKENDS)


@pytest.fixture(scope="module")
def without_tensorflow(tmp_path_factory):
    """Runs a command in an environment with everything but TensorFlow and what comes with it."""
    packages = tmp_path_factory.mktemp("site-packages")
    for entry in pathlib.Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not entry.name.lower().startswith(("tensorflow", "tensorboard", "ai_edge_litert", "tf_keras")):
            (packages / entry.name).symlink_to(entry)
    root = pathlib.Path(__file__).parent.parent

    def run(backend, *arguments):
        path = os.pathsep.join([str(root), str(packages)])
        environment_ = {**environment(backend), "PYTHONPATH": path}
        command = [sys.executable, "-S", "-m", "odn_keras.train", *arguments]
        return subprocess.run(command, env=environment_, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_without_tensorflow_nothing_is_trained_that_could_not_be_exported(without_tensorflow, tmp_path, backend):
    pytest.importorskip(backend)
    small = ["--dataset=digits", "--width=2", "--epochs=2", "--cycle_epochs=1", f"--out={tmp_path / 'run'}"]
    result = without_tensorflow(backend, *small)
    assert result.returncode == 2
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ") and "pip install 'odn_keras[tensorflow]'" in line
    assert "Epoch" not in result.stdout and not (tmp_path / "run").exists()


def test_without_tensorflow_a_tfds_name_says_what_to_install(without_tensorflow, tmp_path):
    pytest.importorskip("jax")
    result = without_tensorflow("jax", "--dataset=mnist", f"--out={tmp_path / 'run'}")
    assert result.returncode == 2 and "pip install 'odn_keras[tensorflow]'" in result.stderr
