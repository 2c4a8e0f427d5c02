"""The Android file, and the library that Android apps use on it: MediaPipe, in an environment of its own."""

import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, LiteRTClassifier, export_tflite, load_dataset
from odn_keras.deploy.android.rgb_file import export_android, with_rgb_input
from odn_keras.deploy.convert import fidelity

pytest.importorskip("tensorflow")
ROOT = pathlib.Path(__file__).parents[3]

IN_MEDIAPIPE = """
import sys
import numpy as np
from odn_keras.deploy.runtimes import open_classifier
from odn_keras.errors import InputError

try:
    with open_classifier(sys.argv[1], "mediapipe") as classifier:
        np.save(sys.argv[3], classifier.predict(np.load(sys.argv[2])))
except InputError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def file(trained_on_digits, digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("android") / "digits.tflite"
    labels = [f"Ziffer {number}, ü" for number in range(10)]
    size = export_android(trained_on_digits, digits.train[0][:500], labels, path, name="Digits")
    assert size == path.stat().st_size
    return path


def test_a_grey_network_takes_grey_as_rgb(trained_on_digits, digits):
    images = digits.test[0][:50].astype(np.float32)
    answers = with_rgb_input(trained_on_digits).predict(np.repeat(images, 3, axis=-1), verbose=0)
    np.testing.assert_allclose(answers, trained_on_digits.predict(images, verbose=0), atol=1e-5)


def test_the_file_answers_as_the_network_and_has_the_labels(file, trained_on_digits, digits):
    images = digits.test[0]
    expected = trained_on_digits.predict(digits.test[0].astype(np.float32), verbose=0).argmax(axis=-1)
    classifier = LiteRTClassifier(file)
    assert classifier.dtypes == [np.uint8, np.uint8] and classifier.input_error() <= 1
    assert np.mean(classifier.predict(images).argmax(axis=-1) == expected) > 0.98
    assert zipfile.ZipFile(file).read("labels.txt").decode().splitlines()[3] == "Ziffer 3, ü"


def test_a_grey_network_sees_the_luma_of_colour_photos(trained_on_digits, digits, tmp_path):
    tint = np.random.default_rng(0).uniform(0.2, 1, (200, 1, 1, 3))
    colour = (digits.train[0][:200] * tint).astype(np.uint8)
    grey = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in colour])[..., np.newaxis]
    answers = with_rgb_input(trained_on_digits).predict(colour.astype("float32"), verbose=0)
    np.testing.assert_allclose(answers, trained_on_digits.predict(grey.astype("float32"), verbose=0), atol=0.05)
    export_android(trained_on_digits, grey, [str(n) for n in range(10)], tmp_path / "android.tflite")
    export_tflite(trained_on_digits, grey, tmp_path / "model.tflite")
    found = LiteRTClassifier(tmp_path / "android.tflite").predict(colour)
    expected = LiteRTClassifier(tmp_path / "model.tflite").predict(grey)
    assert np.mean(found.argmax(axis=-1) == expected.argmax(axis=-1)) > 0.98
    assert fidelity.difference(found, expected) < 0.03


def test_scores_that_are_no_probabilities_are_called_so(digits, tmp_path):
    import keras

    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    export_android(network, digits.train[0][:100], ["a", "b"], tmp_path / "model.tflite")
    content = (tmp_path / "model.tflite").read_bytes()
    assert b"The score of each class." in content and b"probability" not in content


def test_labels_must_match(trained_on_digits, digits, tmp_path):
    with pytest.raises(InputError, match="10 outputs, got 9 labels"):
        export_android(trained_on_digits, digits.train[0][:100], ["?"] * 9, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def mediapipe(tmp_path_factory):
    """Runs a file on images in MediaPipe: its probabilities, or the message of its refusal."""
    folder = tmp_path_factory.mktemp("mediapipe")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile", "mediapipe==1.2.2"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"pip cannot install MediaPipe here: {installed.stderr.strip().splitlines()[-1]}")

    def run(path, images):
        np.save(folder / "images.npy", images)
        result = subprocess.run(
            [python, "-c", IN_MEDIAPIPE, path, folder / "images.npy", folder / "answers.npy"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if "cannot be loaded" in result.stderr:
            pytest.skip(result.stderr.strip())  # Debian: libgles2 and libegl1
        assert "Traceback" not in result.stderr
        return np.load(folder / "answers.npy") if result.returncode == 0 else result.stderr.strip()

    return run


def test_mediapipe_classifies_as_litert_does(mediapipe, file, digits):
    images = np.repeat(digits.test[0], 3, axis=-1)
    answers, expected = mediapipe(file, images), LiteRTClassifier(file).predict(images)
    labels = digits.test[1]
    assert np.mean(answers.argmax(axis=-1) == labels) == np.mean(expected.argmax(axis=-1) == labels)
    np.testing.assert_allclose(answers, expected, atol=1 / 256)


def test_mediapipe_classifies_real_images_as_litert_does(mediapipe, real_data_dir):
    path = ROOT / "tflite_models" / "mnist_rgb.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not among the shipped models")
    images, labels = load_dataset("mnist", data_dir=real_data_dir).test
    images, labels = np.repeat(images[:1000], 3, axis=-1), labels[:1000]
    answers, expected = mediapipe(path, images), LiteRTClassifier(path).predict(images)
    assert np.mean(answers.argmax(axis=-1) == labels) == np.mean(expected.argmax(axis=-1) == labels) > 0.98


@pytest.mark.parametrize("name", ["digits.tflite", "README.md"])
def test_what_mediapipe_does_not_take_is_refused_in_one_line(mediapipe, name):
    message = mediapipe(ROOT / "tflite_models" / name, np.zeros((1, 8, 8, 3), np.uint8))
    assert isinstance(message, str) and "MediaPipe does not take" in message.splitlines()[-1]  # after a line of its own
