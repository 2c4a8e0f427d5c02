"""Accuracy of a network on labelled images."""

import keras
import numpy as np

from odn_keras.data.batches import EVALUATION_BATCH, EvaluationBatches
from odn_keras.data.datasets import Dataset
from odn_keras.data.disk_images import Images
from odn_keras.utils import keras_backends


def accuracies(network: keras.Model, split: tuple[Images, np.ndarray], num_classes: int) -> list[float]:
    """The fraction of images that each output of a network classifies as labelled; the end of the network comes last.

    Args:
        network: of one output or several, each of shape (n, classes).
        split: uint8 images of shape (n, height, width, channels), and integer labels of shape (n,).
        num_classes: number of classes.
    """
    outputs = network.predict(EvaluationBatches(split, num_classes, EVALUATION_BATCH), verbose=0)
    return [float(np.mean(output.argmax(axis=-1) == split[1])) for output in keras.tree.flatten(outputs)]


def validation_accuracy(network: keras.Model, dataset: Dataset) -> float:
    """The fraction of a dataset's validation images that a network of one output classifies as labelled.

    For networks that are measured once: they are called directly, as `predict` compiles a function for each network,
    which takes longer than running it.
    """
    batches = EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH)
    with keras_backends.without_gradients():
        right = [
            keras.ops.convert_to_numpy(network(images, training=False)).argmax(axis=-1) == targets.argmax(axis=-1)
            for images, targets, *_ in (batches[index] for index in range(len(batches)))
        ]
    return float(np.mean(np.concatenate(right)))
