"""One behaviour on three backends: the same run on each, and each one's files under all of them."""

import json
import os
import pathlib
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

import odn_keras

BACKENDS = ("tensorflow", "jax", "torch")
RUN = odn_keras.RunOptions(width=16, epochs=8, cycle_epochs=8, target_accuracy=0.85)
ROOT = pathlib.Path(__file__).parents[1]

TRAIN_AND_LOOK = """
import sys
from odn_keras import run
from tests.test_backends import RUN, look

run(RUN, f"{sys.argv[1]}/run")
print("trained", flush=True)
look(sys.argv[1], sys.stdin.readline().split())
"""


def look(out, model_files):
    """Writes what this backend sees in the networks of the files: their outputs, a `.tflite`, how a network grows."""
    import keras

    from odn_keras import NetworkSpec, build, deepen, export_tflite, load_dataset
    from odn_keras.networks import cost

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
    pathlib.Path(out, "grown.json").write_text(json.dumps(grown))


def environment(backend):
    return {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def looks(tmp_path_factory):
    """The folder of each backend, in which `run` is the same run and the other files are what `look` writes.

    TensorFlow runs in this process, each of the others in one of its own, which waits for the others' networks.
    """
    folders, processes = {}, {}
    for backend in BACKENDS:
        pytest.importorskip(backend)
        folders[backend] = tmp_path_factory.mktemp(backend)
    for backend in BACKENDS[1:]:
        with (folders[backend] / "errors.txt").open("w") as errors:
            process = processes[backend] = subprocess.Popen(
                [sys.executable, "-c", TRAIN_AND_LOOK, folders[backend]],
                env=environment(backend), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True,
            )  # fmt: skip
        trained = "trained\n" in iter(process.stdout.readline, "")
        assert trained, (folders[backend] / "errors.txt").read_text()[-2000:]
    odn_keras.run(RUN, folders["tensorflow"] / "run")
    model_files = [str(folder / "run" / "model.keras") for folder in folders.values()]
    look(folders["tensorflow"], model_files)
    for backend, process in processes.items():
        process.communicate(" ".join(model_files) + "\n")
        assert process.returncode == 0, (folders[backend] / "errors.txt").read_text()[-2000:]
    return folders


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_small_run_is_as_good_on_every_backend(looks, backend):
    report = json.loads((looks[backend] / "run" / "report.json").read_text())
    assert report["backend"] == backend and report["target_met"]
    assert report["test_accuracy"] > 0.85
    assert abs(report["int8_test_accuracy"] - report["test_accuracy"]) < 0.02
    assert report["input"]["largest_error_steps"] < 1


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_any_backend_loads_what_any_other_saved_and_computes_the_same(looks, backend):
    with (
        np.load(looks["tensorflow"] / "outputs.npz") as expected,
        np.load(looks[backend] / "outputs.npz") as found,
    ):
        assert len(expected.files) == len(BACKENDS)
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_networks_grow_by_the_same_book_everywhere(looks):
    grown = [json.loads((looks[backend] / "grown.json").read_text()) for backend in BACKENDS]
    assert len(grown[0]) == 3 and grown[0][0][0] and grown[0][0][1]
    assert grown == [grown[0]] * len(BACKENDS)


def test_the_exported_file_is_the_same_whatever_exports_it(looks):
    exported = [(looks[backend] / "first.tflite").read_bytes() for backend in BACKENDS]
    assert exported == [(looks["tensorflow"] / "run" / "model.tflite").read_bytes()] * len(BACKENDS)


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
