"""What the tests share: a backend, a small real dataset, and the real datasets where there are any."""

import os
import pathlib
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # small networks take longer to compile than to run
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core: more threads would only get in each other's way
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(variable, "1")

import numpy as np
import pytest
from absl import flags

# The files that take half a minute and more: begun last, one would keep a single core busy at the end.
LONGEST = (
    "runs/test_resume.py",
    "runs/test_distributed_run.py",
    "growing/test_checkpoint.py",
    "commands/test_specialize.py",
    "test_backends.py",
    "growing/test_growing_fit.py",
    "commands/test_train.py",
    "deploy/convert/test_qat.py",
    "deploy/convert/test_fidelity.py",
    "test_docs.py",
    "deploy/android/test_rgb_file.py",
)


def pytest_collection_modifyitems(items):
    places = {str(pathlib.Path(__file__).parent / name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


@pytest.fixture(autouse=True)
def seeded():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs a command's module with arguments, in this process: (exit status, stdout, stderr)."""
    from odn_keras import cli

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", [command.__name__, *map(str, arguments)])
        try:
            with pytest.raises(SystemExit) as ended:
                cli.run(command.main, command.define_flags)
        finally:  # another command has flags of the same names
            for module in (cli.__name__, command.__name__):
                for flag in flags.FLAGS.get_flags_for_module(module):
                    delattr(flags.FLAGS, flag.name)
            flags.FLAGS.unparse_flags()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def digits():
    from odn_keras import load_dataset

    return load_dataset("digits")


@pytest.fixture(scope="session")
def trained_on_digits(digits):
    """A small network that has learned the digits."""
    import keras

    from odn_keras import NetworkSpec, build

    keras.utils.set_random_seed(0)  # `seeded` comes after what is made once a session
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=16), 2)
    images, labels = digits.train
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images.astype("float32"), labels, epochs=10, batch_size=64, verbose=0)
    return network


@pytest.fixture
def digits_file(tmp_path):
    """A copy of the int8 file of the digits."""
    path = tmp_path / "model.tflite"
    path.write_bytes((pathlib.Path(__file__).parents[1] / "tflite_models" / "digits.tflite").read_bytes())
    return path


@pytest.fixture(scope="session")
def real_data_dir():
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder:
        pytest.skip("TFDS_DATA_DIR does not say where MNIST and EMNIST are prepared for TensorFlow Datasets")
    return folder


@pytest.fixture
def image_folder(tmp_path):
    """Three classes of fifty 96x96 RGB images each, as a camera's user would keep them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for index, name in enumerate(["bolt", "nut", "washer"]):
        folder = tmp_path / "parts" / name
        folder.mkdir(parents=True)
        for number in range(50):
            pixels = rng.integers(0, 60, (96, 96, 3)).astype(np.uint8)
            pixels[20 * index : 20 * index + 40, 20:60, index] += 180
            Image.fromarray(pixels).save(folder / f"{number:02}.{'png' if number % 2 else 'bmp'}")
    return tmp_path / "parts"


@pytest.fixture
def npz(tmp_path):
    """Writes an .npz of the given arrays over good defaults; a value of None leaves the key out."""

    def write(**changed):
        rng = np.random.default_rng(0)
        arrays = {
            "x_train": rng.integers(0, 256, (40, 8, 8)).astype(np.uint8),
            "y_train": np.arange(40) % 2,
            "x_test": rng.integers(0, 256, (10, 8, 8)).astype(np.uint8),
            "y_test": np.arange(10) % 2,
        }
        arrays |= changed
        path = tmp_path / "data.npz"
        np.savez(path, **{key: array for key, array in arrays.items() if array is not None})
        return path

    return write


@pytest.fixture
def stage():
    """Makes a stage of epochs of four steps, which nobody has trained."""
    from odn_keras.growing.stage import Stage

    def made(depth, phase, first, end, checks, steps=None, **more):
        values = [accuracy for step, accuracy in checks if step % 4 == 0]
        return Stage(depth, phase, first, end, 4, steps=steps or end - first, checks=checks, values=values, **more)

    return made


@pytest.fixture
def stages(stage):
    """Those of a run, as reports and pictures show them."""
    from odn_keras.growing.stage import CYCLE, SETTLE

    return [
        stage(1, CYCLE, 0, 36, [(4, 0.5), (6, 0.55), (8, 0.6)], steps=8, seconds=3.0, training_macs_per_image=10),
        stage(2, SETTLE, 8, 10, [], steps=2, training_macs_per_image=10, fresh_layers=["head"]),
        stage(2, CYCLE, 10, 20, [(12, 0.65), (16, 0.8), (20, 0.9)], seconds=4.0, training_macs_per_image=25),
    ]
