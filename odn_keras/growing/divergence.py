"""How large a training loss may become: half-way from guessing to surely wrong, by this loss and its weights."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


def loss_limit(
    fitted: keras.Model, examples: Iterable[tuple], num_classes: int, class_weight: dict[int, float] | None = None
) -> float:
    """The training loss above which a training has diverged.

    Whatever the loss, its reduction and its weights: it is computed as in training for the labels of a few batches,
    once with every class as likely as the others and once with a class that is certain and mostly wrong.

    Args:
        fitted: compiled; a classifier or what `odn_keras.growing.distillation.trained_model` made of one.
        examples: batches as `odn_keras.growing.averaging.some_examples` has them: images, labels and weights or `None`.
        num_classes: of the labels.
        class_weight: as `keras.Model.fit` takes it.

    Returns:
        The largest of the batches' limits, for one output that learns from labels only; infinity for a loss that does
        not tell guessing from being wrong.
    """
    limits = [0.0]
    for _, labels, weights in examples:
        if labels is None:
            return math.inf
        flat = keras.tree.flatten(labels)
        count = len(flat[0])
        if class_weight is not None:
            weights = _weights_of(flat[0], class_weight)
        labels = keras.tree.map_structure(ops.convert_to_tensor, labels)
        weights = None if weights is None else ops.convert_to_tensor(weights)

        def loss(probabilities, labels=labels, weights=weights) -> float:
            predicted = ops.convert_to_tensor(probabilities.astype("float32"))
            return float(keras.Model.compute_loss(fitted, None, labels, predicted, weights))  # without a teacher's

        guessing = loss(np.full((count, num_classes), 1 / num_classes))
        certain = [np.eye(num_classes)[(np.arange(count) + shift) % num_classes] for shift in (0, 1)]
        wrong = max(map(loss, certain))
        if wrong > guessing > 0 and math.isfinite(wrong):
            limits.append((guessing + wrong) / 2)
    return max(limits) or math.inf


def _weights_of(labels: Any, class_weight: dict[int, float]) -> np.ndarray:
    classes = ops.convert_to_numpy(labels)
    classes = classes.argmax(axis=-1) if classes.ndim > 1 and classes.shape[-1] > 1 else classes.reshape(-1)
    return np.array([class_weight.get(int(number), 1.0) for number in classes], "float32")
