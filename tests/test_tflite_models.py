"""The shipped models do what their cards say."""

import os
import pathlib
import re

import pytest

from odn_keras import LiteRTClassifier, load_dataset

MODELS = pathlib.Path(__file__).parent.parent / "tflite_models"
ROWS = re.findall(
    r"^\| `(\S+)\.tflite` \| (\w+) \|.*?/ ([\d.]+) % \| ([\d,]+) \|", (MODELS / "README.md").read_text(), re.MULTILINE
)
QUICK = ("digits", "fashion_mnist_width16", "mnist_64kb_pruned")


def test_every_model_has_a_card():
    assert sorted(name for name, *_ in ROWS) == sorted(path.stem for path in MODELS.glob("*.tflite"))


def test_all_models_together_are_small():
    assert sum(path.stat().st_size for path in MODELS.glob("*.tflite")) <= 2_000_000


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, _, _, size in ROWS])
def test_the_bytes_are_those_of_the_card(name, size):
    assert (MODELS / f"{name}.tflite").stat().st_size == int(size.replace(",", ""))


@pytest.mark.parametrize(
    ("name", "dataset", "percent"),
    [pytest.param(*row[:3], marks=() if row[0] in QUICK else pytest.mark.slow) for row in ROWS],
)
def test_the_accuracy_is_that_of_the_card(name, dataset, percent):
    folder = os.environ.get("TFDS_DATA_DIR")
    if dataset != "digits" and not folder:
        pytest.skip("TFDS_DATA_DIR does not say where MNIST and others are prepared for TensorFlow Datasets")
    images, labels = load_dataset(dataset, data_dir=folder).test
    classifier = LiteRTClassifier(MODELS / f"{name}.tflite", num_threads=2)
    # other processors may round one step differently, which moves a handful of images
    assert classifier.accuracy(images, labels) == pytest.approx(
        float(percent) / 100, abs=max(0.0015, 1.5 / len(labels))
    )
