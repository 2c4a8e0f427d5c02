"""How good answers are: of all images together, and class by class."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

from odn_keras.errors import InputError
from odn_keras.utils.metric_names import ACCURACY, BALANCED_ACCURACY, MACRO_F1


def _macro(metric: Callable[..., float]) -> Callable[[np.ndarray, np.ndarray], float]:
    """The metric's mean over the classes that have images."""
    return lambda labels, answers: float(
        metric(labels, answers, labels=np.unique(labels), average="macro", zero_division=0)
    )


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    ACCURACY: lambda labels, answers: float(accuracy_score(labels, answers)),
    BALANCED_ACCURACY: _macro(recall_score),
    MACRO_F1: _macro(f1_score),
}


def score(metric: str, labels: np.ndarray, answers: np.ndarray) -> float:
    """One figure for all answers, from 0 to 1.

    Args:
        metric: `"accuracy"`, the fraction of right answers; `"balanced_accuracy"`, the mean over the classes of the
            fraction of their images that are recognised; `"macro_f1"`, the mean over the classes of F1, the harmonic
            mean of precision and recall. Classes without images do not count.
        labels: the true classes, shape (n,).
        answers: the classes answered, shape (n,).

    Raises:
        InputError: for another metric, or without images.

    >>> score("accuracy", np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.75
    >>> score("balanced_accuracy", np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    if metric not in METRICS:
        raise InputError(f"the metric must be one of {', '.join(METRICS)}, got {metric!r}")
    if not len(labels):
        raise InputError(f"{metric} needs at least one image, got none")
    return METRICS[metric](labels, answers)


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class, arrays of shape (classes,).

    Attributes:
        precision: fraction of the answers of the class that are right; NaN where it is never answered.
        recall: fraction of its images that are recognised; NaN without images.
        f1: harmonic mean of the two.
        images: how many images of the class there are.
        confusion: the number of images of a class (row) that are answered as a class (column), (classes, classes).
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    images: np.ndarray
    confusion: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, answers: np.ndarray, classes: int) -> "ClassScores":
        """The scores of answers; the arguments are as those of `score`."""
        every = range(classes)
        precision, recall, f1, images = precision_recall_fscore_support(
            labels, answers, labels=every, zero_division=np.nan
        )
        return cls(precision, recall, f1, images, confusion_matrix(labels, answers, labels=every))
