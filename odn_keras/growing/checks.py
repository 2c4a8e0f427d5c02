"""`AccuracyCheck`: the accuracy within an epoch, on a fixed part of the validation images."""

import keras
import numpy as np

from odn_keras.data.batches import EVALUATION_BATCH, EvaluationBatches, spread_rows
from odn_keras.growing import distribution
from odn_keras.utils import keras_backends

IMAGES = 5000  # a share of 0.8 is then known to 0.6 points (one standard deviation)


class AccuracyCheck:
    """Measures a network on a fixed part of the validation images.

    Args:
        images: of shape (n, height, width, channels).
        labels: of shape (n,), class numbers, or (n, classes).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        labels = np.asarray(labels)
        self._images = np.asarray(images)
        self._labels = labels.argmax(axis=-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(-1)

    @classmethod
    def on_some_of(cls, validation_data) -> "AccuracyCheck | None":
        """A check on images from all parts of the data; `None` for other kinds of data, and on several devices."""
        if distribution.current().devices > 1:
            return None
        if isinstance(validation_data, EvaluationBatches):
            return cls(*validation_data.spread(IMAGES))
        if isinstance(validation_data, tuple) and all(isinstance(part, np.ndarray) for part in validation_data[:2]):
            rows = spread_rows(len(validation_data[0]), IMAGES)
            return cls(validation_data[0][rows], validation_data[1][rows])
        return None

    def accuracy(self, network: keras.Model) -> float:
        """The accuracy of the network's end, in [0, 1]."""
        right = 0
        with keras_backends.without_gradients():
            for start in range(0, len(self._labels), EVALUATION_BATCH):
                part = slice(start, start + EVALUATION_BATCH)
                *_, end = keras.tree.flatten(network(self._images[part], training=False))
                right += int(np.sum(keras.ops.convert_to_numpy(end).argmax(axis=-1) == self._labels[part]))
        return right / len(self._labels)
