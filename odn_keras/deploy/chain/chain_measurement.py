"""Accuracy, MACs and latency of a routed chain on test images."""

import pathlib
import tempfile
from typing import Any

import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.deploy.chain.routed_classifier import RoutedClassifier
from odn_keras.deploy.chain.routing_picture import RoutedImages
from odn_keras.deploy.runtimes import LiteRTClassifier, measure

LATENCY_IMAGES = 1000


def add_test_measurements(result: dict[str, Any], dataset: Dataset, folder: pathlib.Path, end: bytes) -> RoutedImages:
    """Adds `test`, and for each stage `test_share` and `test_accuracy`, to what `routing.json` holds.

    Args:
        result: what the file holds so far; changed in place.
        dataset: whose test images are measured.
        folder: of the stages and their `routing.json`.
        end: the file of the network's end alone, to compare with.

    Returns:
        Where each test image leaves, and as what.
    """
    images, labels = dataset.test
    classifier = RoutedClassifier(folder)
    answers, exits = classifier.route(images)
    routed = RoutedImages(
        images=images,
        labels=labels,
        answers=answers.argmax(axis=-1),
        exits=exits,
        class_names=dataset.class_names,
        stages=len(result["stages"]),
    )
    right = np.array([answer.argmax(axis=-1) == labels for answer in classifier.predict_every_exit(images)])
    for row, share, accuracy in zip(result["stages"], routed.shares, right.mean(axis=-1), strict=True):
        row |= {"test_share": float(share), "test_accuracy": float(accuracy)}
    with tempfile.TemporaryDirectory() as temporary:
        end_file = pathlib.Path(temporary, "end.tflite")
        end_file.write_bytes(end)
        mean_ms, end_mean_ms = (
            measure(one, images[:LATENCY_IMAGES], labels[:LATENCY_IMAGES]).mean_ms
            for one in (classifier, LiteRTClassifier(end_file))
        )
    result["test"] = {
        "images": len(labels),
        "accuracy": float(np.mean(routed.answers == labels)),
        "end_accuracy": float(right[-1].mean()),
        "mean_macs": float(routed.shares @ np.array([row["macs"] for row in result["stages"]])),
        "mean_ms": mean_ms,
        "end_mean_ms": end_mean_ms,
    }
    return routed
