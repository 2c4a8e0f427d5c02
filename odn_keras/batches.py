"""Batches for training and evaluation: `keras.utils.PyDataset`s over images in memory or on disk."""

import copy

import keras
import numpy as np

from odn_keras.distribution import Share
from odn_keras.recipes import Augmentation


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented training batches: what is in them depends on seed, epoch and step only, on any backend.

    Args:
        split: uint8 images of shape (n, height, width, channels), in memory or on disk, and integer labels.
        num_classes: length of the one-hot labels.
        batch_size: images of a batch; the last, incomplete batch of an epoch is left out (other images each time).
        seed: of shuffling and augmentation.
        augmentation: random changes of the images.
        label_smoothing: probability spread evenly over all classes.
        share: the part of every batch that this process feeds to its devices; default: all of it.

    Each item is (images float32 0..255 of shape (batch, height, width, channels), labels float32 (batch, classes)).
    """

    def __init__(
        self,
        split,
        num_classes: int,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        share: Share | None = None,
    ):
        super().__init__()
        self._images, self._labels = split
        self._batch_size, self._seed, self._share = batch_size, seed, share or Share()
        self._augmentation = augmentation or Augmentation()
        self._targets = one_hot(np.arange(num_classes), num_classes) * (1 - label_smoothing)
        self._targets += label_smoothing / num_classes
        self.seek(0)

    def seek(self, epoch: int, step: int = 0) -> None:
        """Goes to a step of an epoch: the epoch's earlier batches are skipped, and `len` is what is left of it."""
        self._epoch, self._first_step = epoch, step
        self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._labels))

    def whole(self) -> "Batches":
        """The same batches, all of each."""
        batches = copy.copy(self)
        batches._share = Share()
        return batches

    def __len__(self):
        return len(self._labels) // self._batch_size - self._first_step

    def __getitem__(self, index):
        step = self._first_step + index
        chosen = self._order[step * self._batch_size : (step + 1) * self._batch_size]
        chosen = chosen[self._share.of(len(chosen))]
        images = self._images[chosen]
        if self._augmentation != Augmentation():
            generators = np.random.default_rng([self._seed, self._epoch, step]).spawn(self._batch_size)
            images = self._augmentation(images, generators[self._share.of(self._batch_size)])
        return images.astype(np.float32), self._targets[self._labels[chosen]]

    def on_epoch_end(self):
        self.seek(self._epoch + 1)


class EvaluationBatches(keras.utils.PyDataset):
    """All images in their order, the last batch being what is left.

    Several devices need batches that can be divided among them: there the last one is filled up, and every item has
    weights as its third part, 0 for the filling. Compile with `weighted_metrics` for them to count.

    Args:
        split: uint8 images of shape (n, height, width, channels), in memory or on disk, and integer labels.
        num_classes: length of the one-hot labels.
        batch_size: images of a batch, divisible by the number of devices.
        share: the part of every batch that this process feeds to its devices; default: all of it.
    """

    def __init__(self, split, num_classes: int, batch_size: int, share: Share | None = None):
        super().__init__()
        self._images, self._labels = split
        self._num_classes, self._batch_size, self._share = num_classes, batch_size, share or Share()

    def __len__(self):
        return -(-len(self._labels) // self._batch_size)

    def __getitem__(self, index):
        chosen = np.arange(len(self._labels))[index * self._batch_size : (index + 1) * self._batch_size]
        weights = np.ones(len(chosen), np.float32)
        if filling := -len(chosen) % self._share.devices:
            chosen = np.concatenate([chosen, np.repeat(chosen[-1:], filling)])
            weights = np.concatenate([weights, np.zeros(filling, np.float32)])
        mine = self._share.of(len(chosen))
        chosen, weights = chosen[mine], weights[mine]
        images, targets = self._images[chosen].astype(np.float32), one_hot(self._labels[chosen], self._num_classes)
        return (images, targets) if self._share.devices == 1 else (images, targets, weights)


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Integer labels of shape (n,) -> float32 of shape (n, num_classes)."""
    return np.eye(num_classes, dtype=np.float32)[labels]
