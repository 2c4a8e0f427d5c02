"""`AccuracyCheck`: the accuracy, or another score, within an epoch, on a fixed part of the validation images."""

import keras
import numpy as np

from odn_keras.data.batches import EVALUATION_BATCH, EvaluationBatches, spread_rows
from odn_keras.data.disk_images import Images
from odn_keras.growing import distribution
from odn_keras.utils import keras_backends
from odn_keras.utils.metric_names import ACCURACY
from odn_keras.utils.scores import score

IMAGES = 5000  # a share of 0.8 is then known to 0.6 points (one standard deviation)
NUMBERS = {"check_images": IMAGES}


class AccuracyCheck:
    """Measures a network on a fixed part of the validation images.

    Args:
        images: of shape (n, height, width, channels), in memory or on disk.
        labels: of shape (n,), class numbers, or (n, classes).

    Attributes:
        count: n.
    """

    def __init__(self, images: Images, labels: np.ndarray):
        labels = np.asarray(labels)
        self._images = images
        self._labels = labels.argmax(axis=-1) if labels.ndim > 1 and labels.shape[-1] > 1 else labels.reshape(-1)
        self.count = len(self._labels)

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

    def score(self, network: keras.Model, metric: str = ACCURACY) -> float:
        """The score of the network's end by one of `odn_keras.utils.metric_names.METRIC_NAMES`, in [0, 1]."""
        answers = np.empty(len(self._labels), int)
        with keras_backends.without_gradients():
            for start in range(0, len(self._labels), EVALUATION_BATCH):
                part = slice(start, start + EVALUATION_BATCH)
                *_, end = keras.tree.flatten(network(np.asarray(self._images[part]), training=False))
                answers[part] = keras.ops.convert_to_numpy(end).argmax(axis=-1)
        return score(metric, self._labels, answers)
