"""The shipped models do what their cards say."""

import os
import pathlib
import re

import pytest

from odn_keras import LiteRTClassifier, load_dataset

MODELS = pathlib.Path(__file__).parent.parent / "tflite_models"
ROWS = re.findall(
    r"^\| `(\S+)\.tflite` \|.*?/ ([\d.]+) % \| ([\d,]+) \|", (MODELS / "README.md").read_text(), re.MULTILINE
)
DATASETS = {"digits": "digits", "mnist": "mnist", "fashion_mnist_width16": "fashion_mnist"}


def test_every_model_has_a_card():
    assert sorted(name for name, _, _ in ROWS) == sorted(path.stem for path in MODELS.glob("*.tflite"))


@pytest.mark.parametrize(("name", "percent", "size"), ROWS)
def test_bytes_and_accuracy_are_those_of_the_card(name, percent, size):
    path = MODELS / f"{name}.tflite"
    assert path.stat().st_size == int(size.replace(",", ""))
    folder = os.environ.get("TFDS_DATA_DIR")
    if name != "digits" and not folder:
        pytest.skip("TFDS_DATA_DIR does not say where MNIST and Fashion-MNIST are prepared for TensorFlow Datasets")
    images, labels = load_dataset(DATASETS[name], data_dir=folder).test
    classifier = LiteRTClassifier(path, num_threads=2)
    # other processors may round one step differently, which moves a handful of images
    assert classifier.accuracy(images, labels) == pytest.approx(
        float(percent) / 100, abs=max(0.0015, 1.5 / len(labels))
    )
