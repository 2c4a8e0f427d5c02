"""Divergence: a training loss larger than half-way from guessing to surely wrong, by this loss and its weights."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from odn_keras.errors import InputError

CHECKED_EVERY = 100  # steps: to read the loss is to wait for the device
RETRY_RATE = 0.1  # of the learning rate, once


class TrainingDiverged(InputError):
    """The loss exploded or became NaN; the network holds the best weights from before that."""


class DivergenceGuard:
    """Notices a training loss that a healthy training does not have.

    Attributes:
        limit: the largest loss of a network of one output without a teacher; infinity until it is known.
    """

    def __init__(self):
        self.limit = math.inf

    @staticmethod
    def is_due(before: int, done: int) -> bool:
        """Whether the loss is looked at when so many steps of an epoch are done, `before` when last asked."""
        return done // CHECKED_EVERY > before // CHECKED_EVERY

    def check(self, fitted: keras.Model, loss: float, *, epoch: int, depth: int) -> None:
        """Raises `TrainingDiverged` where the loss is not finite or exceeds the limit.

        Args:
            fitted: the model whose loss it is, as for `loss_limit`.
            loss: mean loss of the epoch so far.
            epoch: from 0, for the message.
            depth: of the network, for the message.
        """
        loss = float(loss)
        if not math.isfinite(loss) or loss > self.limit * getattr(fitted, "loss_scale", 1):
            raise TrainingDiverged(
                f"the loss became {loss:.4g} in epoch {epoch + 1} (depth {depth}): lower the learning rate"
            )


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
        The largest of the batches' limits, for one output that learns from labels only; infinity for a loss that is
        not larger for wrong answers than for guesses.
    """
    limits = [0.0]
    for _, labels, example_weights in examples:
        if labels is None:
            return math.inf
        flat = keras.tree.flatten(labels)
        count = len(flat[0])
        weights = example_weights if class_weight is None else _weights_of(flat[0], class_weight)
        weights = None if weights is None else ops.convert_to_tensor(weights)
        targets = keras.tree.map_structure(ops.convert_to_tensor, labels)

        def loss(probabilities, targets=targets, weights=weights) -> float:
            predicted = ops.convert_to_tensor(probabilities.astype("float32"))
            return float(keras.Model.compute_loss(fitted, None, targets, predicted, weights))  # without a teacher's

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
