"""Balanced accuracy and macro F1 as metrics of Keras, with sample weights, on any backend."""

import keras
from keras import ops

from odn_keras.errors import InputError
from odn_keras.utils.metric_names import BALANCED_ACCURACY, MACRO_F1


class ClassScore(keras.metrics.Metric):
    """The mean over the classes of recall (`"balanced_accuracy"`) or of F1 (`"macro_f1"`), from 0 to 1.

    Classes without images do not count. All that it counts are sums.

    Args:
        metric: one of these two; the default of `name`, too.
        num_classes: of the outputs; labels are 0 .. num_classes - 1 or probabilities of the classes.
        name: as of every metric.
        dtype: as of every metric.

    Raises:
        InputError: for another metric.
    """

    def __init__(self, metric: str, num_classes: int, name: str | None = None, dtype: str | None = None):
        if metric not in (BALANCED_ACCURACY, MACRO_F1):
            raise InputError(f"the metric must be {BALANCED_ACCURACY} or {MACRO_F1}, got {metric!r}")
        super().__init__(name=name or metric, dtype=dtype)
        self._metric, self._classes = metric, num_classes
        self._right, self._images, self._answered = (
            self.add_variable((num_classes,), "zeros", name=what) for what in ("right", "images", "answered")
        )

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Counts labels of shape (n,), (n, 1) or (n, classes) and outputs of shape (n, classes)."""
        labels = ops.convert_to_tensor(y_true)
        is_dense = len(labels.shape) > 1 and labels.shape[-1] == self._classes
        labels = ops.argmax(labels, axis=-1) if is_dense else ops.reshape(labels, (-1,))
        true = ops.one_hot(ops.cast(labels, "int32"), self._classes, dtype=self.dtype)
        answered = ops.one_hot(ops.argmax(y_pred, axis=-1), self._classes, dtype=self.dtype)
        if sample_weight is not None:
            weights = ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
            true, answered = true * weights, answered * weights
        self._images.assign_add(ops.sum(true, axis=0))
        self._answered.assign_add(ops.sum(answered, axis=0))
        # Of a right answer both are the weight, of a wrong one the product is 0.
        self._right.assign_add(ops.sum(ops.where(answered > 0, true, ops.zeros_like(true)), axis=0))

    def result(self):
        """The score so far; 0 before the first image."""
        whole = self._images if self._metric == BALANCED_ACCURACY else (self._images + self._answered) / 2
        there = ops.cast(self._images > 0, self.dtype)
        scores = there * self._right / ops.maximum(whole, keras.config.epsilon())
        return ops.sum(scores) / ops.maximum(ops.sum(there), 1)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "metric": self._metric, "num_classes": self._classes}
