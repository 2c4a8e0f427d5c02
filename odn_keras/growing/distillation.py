"""Distillation: a network learns from a teacher's probabilities besides the labels, and its exits from its end.

Source: Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network (arXiv 1503.02531); that inner exits
learn from the end of the same network is as in Once-for-All (arXiv 1908.09791).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from odn_keras.errors import InputError


@dataclass(frozen=True)
class Distillation:
    """How much is learned from whom.

    The loss of an output is (1 - alpha) * loss(labels) + alpha * temperature**2 * cross-entropy(softened teacher).

    Attributes:
        alpha: weight of the teacher, in [0, 1]; 0 for labels only.
        temperature: both sides' probabilities p are softened to p**(1 / temperature), and scaled to sum to 1.
        exit_weight: of the loss of every inner exit, where that of the end counts 1.

    Raises:
        InputError: for a value out of range.
    """

    alpha: float = 0.5
    temperature: float = 2.0
    exit_weight: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha, the weight of the teacher, must be in [0, 1], got {self.alpha}")
        if not self.temperature > 0:
            raise InputError(f"the temperature must be above 0, got {self.temperature}")
        if not self.exit_weight > 0:
            raise InputError(f"exit_weight must be above 0, got {self.exit_weight}")


def soft_loss(student: Any, teacher: Any, temperature: float) -> Any:
    """Cross-entropy of softened probabilities, times temperature**2 so that its gradients keep their size.

    Args:
        student: probabilities of shape (batch, classes).
        teacher: probabilities of the same shape.
        temperature: see `Distillation`.

    Returns:
        Shape (batch,).
    """
    target, logits = ops.softmax(_logits(teacher) / temperature), _logits(student) / temperature
    return -(temperature**2) * ops.sum(target * ops.log_softmax(logits), axis=-1)


def _logits(probabilities: Any) -> Any:
    return ops.log(ops.maximum(ops.cast(probabilities, "float32"), keras.config.epsilon()))


def check_teacher(teacher: keras.Model, input_shape: tuple[int, ...], num_classes: int) -> None:
    """Checks that the teacher takes the same images and has the same classes.

    Raises:
        InputError: where it does not.
    """
    shapes = [tuple(output.shape[1:]) for output in keras.tree.flatten(teacher.output)]
    if shapes != [(num_classes,)]:
        raise InputError(f"the teacher must have one output of {num_classes} classes, it has {shapes}")
    if tuple(teacher.input_shape[1:]) != tuple(input_shape):
        raise InputError(f"the teacher takes images of {teacher.input_shape[1:]}, the network of {tuple(input_shape)}")


class Distiller(keras.Model):
    """Trains a network by labels and a teacher; what is logged besides the loss is of its end, and of each exit.

    Args:
        student: a functional classifier of one output, or of several, the last of which is its end.
        teacher: a classifier of the same images and classes, which is frozen. Default: the exits
            of the student learn from its end, which learns from labels only.
        distillation: how much is learned from whom.

    Inputs and labels are the student's. Logs: the metrics it is compiled with, of the end, and the accuracy of every
    inner exit, as `block1_exit_accuracy`.
    """

    def __init__(self, student: keras.Model, teacher: keras.Model | None, distillation: Distillation):
        super().__init__(name="distiller")
        self.student, self.teacher = student, teacher
        if teacher is not None:
            teacher.trainable = False
        self._distillation = distillation
        self._exit_accuracies = [keras.metrics.Mean(name=f"{name}_accuracy") for name in student.output_names[:-1]]

    @property
    def loss_scale(self) -> float:
        """How many times larger the loss can be than that of a plain network."""
        settings = self._distillation
        with_teacher = 1 - settings.alpha + settings.alpha * settings.temperature**2
        exits = settings.exit_weight * len(self._exit_accuracies) * with_teacher
        return exits + (with_teacher if self.teacher else 1)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Returns what the student returns."""
        return self.student(images, training=training)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Saves the student, without its teacher."""
        self.student.save(*args, **kwargs)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss of the end and every exit by labels and teacher; outside training, of the end by labels only."""
        *exits, end = keras.tree.flatten(y_pred)
        if not training:
            return super().compute_loss(x, y, end, sample_weight, training)
        target = end if self.teacher is None else keras.tree.flatten(self.teacher(x, training=False))[-1]
        target = ops.stop_gradient(target)
        regularization = sum(self.losses)  # which Keras adds to each output's loss

        def loss(output: Any, alpha: float) -> Any:
            hard = super(Distiller, self).compute_loss(x, y, output, sample_weight, training) - regularization
            if alpha == 0:
                return hard
            soft = soft_loss(output, target, self._distillation.temperature)
            if sample_weight is not None:
                soft = soft * ops.reshape(ops.cast(sample_weight, soft.dtype), (-1,))
            return (1 - alpha) * hard + alpha * ops.mean(soft)

        alpha = self._distillation.alpha
        total = regularization + loss(end, 0 if self.teacher is None else alpha)
        for output in exits:
            total = total + self._distillation.exit_weight * loss(output, alpha)
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Updates the metrics: the compiled ones of the end, and the accuracy of every inner exit."""
        *exits, end = keras.tree.flatten(y_pred)
        labels = ops.argmax(y, axis=-1) if len(y.shape) > 1 and y.shape[-1] == end.shape[-1] else ops.reshape(y, (-1,))
        for accuracy, output in zip(self._exit_accuracies, exits, strict=True):
            right = ops.equal(ops.argmax(output, axis=-1), ops.cast(labels, "int32"))
            accuracy.update_state(ops.cast(right, "float32"), sample_weight)
        return super().compute_metrics(x, y, end, sample_weight)


def trained_model(network: keras.Model, teacher: keras.Model | None, distillation: Distillation) -> keras.Model:
    """Returns the model to compile and fit: the network itself, or a `Distiller` where there is anything to distil."""
    if teacher is None and len(network.outputs) == 1:
        return network
    return Distiller(network, teacher, distillation)


def student(fitted: keras.Model) -> keras.Model:
    """Returns the network within a model that `trained_model` made."""
    return fitted.student if isinstance(fitted, Distiller) else fitted


def distill(
    student: keras.Model,
    teacher: keras.Model,
    *data: Any,
    alpha: float = Distillation.alpha,
    temperature: float = Distillation.temperature,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: Any = "sparse_categorical_crossentropy",
    metrics: Sequence[Any] = ("accuracy",),
    **fit: Any,
) -> keras.callbacks.History:
    """Trains a classifier by labels and by a teacher's probabilities.

    Args:
        student: a functional classifier; it is trained in place.
        teacher: a classifier of the same images and classes; it is frozen.
        *data: images and labels, or a dataset, as `keras.Model.fit` takes them.
        alpha: see `Distillation`.
        temperature: see `Distillation`.
        optimizer: as `keras.Model.compile` takes it.
        loss: as `keras.Model.compile` takes it.
        metrics: as `keras.Model.compile` takes them.
        **fit: further arguments of `keras.Model.fit`.

    Returns:
        The history; `loss` is the sum of both losses.

    Raises:
        InputError: where the two do not see the same images and classes, or for a value out of range.

    >>> import numpy as np
    >>> from odn_keras import NetworkSpec, build, distill
    >>> spec = NetworkSpec("resnet18", (8, 8, 1), num_classes=2, width=4)
    >>> images, labels = np.random.rand(32, 8, 8, 1) * 255, np.arange(32) % 2
    >>> history = distill(build(spec, depth=1), build(spec, depth=2), images, labels, verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'loss']
    """
    check_teacher(teacher, student.input_shape[1:], keras.tree.flatten(student.output)[-1].shape[-1])
    trained = Distiller(student, teacher, Distillation(alpha, temperature))
    trained.compile(optimizer=optimizer, loss=loss, metrics=list(metrics))
    return trained.fit(*data, **fit)
