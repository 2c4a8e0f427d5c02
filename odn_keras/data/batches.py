"""Batches for training and evaluation: `keras.utils.PyDataset`s over images in memory or on disk."""

import copy
import dataclasses
import math
from typing import Any

import keras
import numpy as np

from odn_keras.data.augmentation import Augmentation, mix, mix_labels
from odn_keras.data.disk_images import Images
from odn_keras.data.prefetch import Prefetcher
from odn_keras.data.share import Share
from odn_keras.errors import InputError

THREADS = 2  # that prepare batches: more take the processor from the training
AHEAD = 4  # batches
EVALUATION_BATCH = 500  # images that networks classify at once, where nothing is trained


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented training batches, which depend on seed, epoch and step only, on any backend.

    Threads prepare the next batches while one is trained on; their number changes the speed only. Keras's `fit` takes
    the batches of an epoch in an order of its own, so that the next one is unknown: give it `shuffle=False`. The images
    are shuffled nevertheless. An `OptimallyDeepNetwork` sets it by itself.

    Args:
        split: uint8 images of shape (n, height, width, channels), in memory or on disk, and integer labels.
        num_classes: length of the one-hot labels.
        batch_size: images of a batch; the last, incomplete batch of an epoch is left out (other images each time).
        seed: of shuffling and augmentation.
        augmentation: random changes of the images.
        label_smoothing: probability spread evenly over all classes.
        share: the part of every batch that this process feeds to its devices; default: all of it.
        threads: that prepare the next batches; 0 prepares each when it is asked for.
        class_weights: of the images of each class in the loss, shape (classes,); a mixed image has the mixed weight.
            Default: all images count alike.

    Each item is (images uint8 of shape (batch, height, width, channels), labels float32 (batch, classes)), and with
    class weights a third part, weights float32 (batch,).

    Raises:
        InputError: for labels that are not 0 .. num_classes - 1, as many as images; for fewer images than a batch; for
            images that the augmentation cannot change; for a value out of range.
    """

    def __init__(  # noqa: PLR0917 (public; they may be given by position)
        self,
        split: tuple[Images, np.ndarray],
        num_classes: int,
        batch_size: int,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        label_smoothing: float = 0.0,
        share: Share | None = None,
        *,
        threads: int = THREADS,
        class_weights: np.ndarray | None = None,
    ):
        super().__init__()
        self._images, self._labels = _checked(split, num_classes, batch_size)
        if batch_size > len(self._labels):
            raise InputError(f"a batch of {batch_size} needs as many images, there are {len(self._labels)}")
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing must be at least 0 and below 1, got {label_smoothing}")
        self._batch_size, self._seed, self._share = batch_size, seed, share or Share()
        self._augmentation = augmentation or Augmentation()
        self._augmentation.check(self._images.shape[1:], self._images.dtype)
        self._label_smoothing = label_smoothing
        self._targets = one_hot(np.arange(num_classes), num_classes) * (1 - label_smoothing)
        self._targets += label_smoothing / num_classes
        self._threads = threads
        self._class_weights = None if class_weights is None else np.asarray(class_weights, np.float32)
        if class_weights is not None and np.shape(class_weights) != (num_classes,):
            raise InputError(f"class_weights must be of shape ({num_classes},), got {np.shape(class_weights)}")
        self._prepare()
        self.seek(0)

    def _prepare(self) -> None:
        self._order = _Order(len(self._labels), self._seed)
        self._prepared = Prefetcher(self._make, self._following, threads=self._threads, ahead=AHEAD)

    def seek(self, epoch: int, step: int = 0) -> None:
        """Goes to a step of an epoch: the epoch's earlier batches are skipped, and `len` is what is left of it."""
        self._epoch, self._first_step = epoch, step

    def whole(self) -> "Batches":
        """A copy that yields whole batches, not this process's share, each when it is asked for."""
        batches = copy.copy(self)
        batches._share, batches._threads = Share(), 0
        batches._prepare()
        return batches

    def rest(self) -> None:
        """Forgets the batches that are prepared, and lets the threads end until the next one is asked for."""
        self._prepared.stop()

    @property
    def augmentation(self) -> Augmentation:
        """The random changes of the images."""
        return self._augmentation

    def settings(self) -> dict[str, Any]:
        """All settings that the batches depend on, as JSON; of the images only their number."""
        weights = {} if self._class_weights is None else {"class_weights": self._class_weights.tolist()}
        return {
            **weights,
            "images": len(self._labels),
            "batch_size": self._batch_size,
            "seed": self._seed,
            "augmentation": dataclasses.asdict(self._augmentation),
            "label_smoothing": self._label_smoothing,
        }

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in a whole epoch."""
        return len(self._labels) // self._batch_size

    def __len__(self) -> int:
        return self.steps_per_epoch - self._first_step

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self._prepared[self._epoch, self._first_step + index]

    def _following(self, place: tuple[int, int]) -> tuple[int, int]:
        epoch, step = place
        return (epoch, step + 1) if step + 1 < self.steps_per_epoch else (epoch + 1, 0)

    def _make(self, place: tuple[int, int]) -> tuple[np.ndarray, ...]:
        images, targets = self._images_and_targets(place)
        if self._class_weights is None:
            return images, targets
        smoothing = self._label_smoothing
        shares = (targets - smoothing / targets.shape[-1]) / (1 - smoothing)  # of the classes, as before the smoothing
        return images, targets, (shares @ self._class_weights).astype(np.float32)

    def _images_and_targets(self, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        epoch, step = place
        batch = self._order.of(epoch)[step * self._batch_size : (step + 1) * self._batch_size]
        mine = np.arange(len(batch))[self._share.of(len(batch))]
        targets = self._targets[self._labels[batch]]
        if self._augmentation == Augmentation():
            return self._images[batch[mine]], targets[mine]
        rng = np.random.default_rng([self._seed, epoch, step])
        draws = self._augmentation.draw(rng, len(batch), self._images.shape[1:])
        if draws.partner is None:
            return self._augmentation.change(self._images[batch[mine]], draws.of(mine)), targets[mine]
        partners = draws.partner[mine]
        needed, places = np.unique(
            np.concatenate([mine, partners]), return_inverse=True
        )  # partners of other shares too
        changed = self._augmentation.change(self._images[batch[needed]], draws.of(needed))[places]
        own, others = changed[: len(mine)], changed[len(mine) :]
        draws = draws.of(mine)
        return mix(own, others, draws), mix_labels(targets[mine], targets[partners], draws)

    def examples(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first images of the first batch: as they are, as they are trained on, and their labels then.

        Args:
            count: how many at most.

        Returns:
            uint8 images of shape (n, height, width, channels), twice, and labels of shape (n, classes).
        """
        changed, targets = self.whole()._images_and_targets((0, 0))
        return self._images[self._order.of(0)[:count][: len(changed)]], changed[:count], targets[:count]

    def on_epoch_end(self) -> None:
        """Goes to the first batch of the next epoch; Keras calls it."""
        self.seek(self._epoch + 1)


class _Order:
    """The order of the images in each epoch, decided by the seed; remembers the last two asked for."""

    def __init__(self, count: int, seed: int):
        self._count, self._seed = count, seed
        self._orders: dict[int, np.ndarray] = {}

    def of(self, epoch: int) -> np.ndarray:
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([self._seed, epoch]).permutation(self._count)
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}  # replaced whole: threads read it
        return order


class EvaluationBatches(keras.utils.PyDataset):
    """Batches of all images in their order, the last batch being smaller; threads prepare the next ones.

    Several devices need batches that can be divided among them: there the last batch is filled up, and every item has
    weights as its third part, 0 for the filling. Compile with `weighted_metrics` for them to count.

    Args:
        split: uint8 images of shape (n, height, width, channels), in memory or on disk, and integer labels.
        num_classes: length of the one-hot labels.
        batch_size: images of a batch, divisible by the number of devices.
        share: the part of every batch that this process feeds to its devices; default: all of it.

    Raises:
        InputError: for labels that are not 0 .. num_classes - 1, as many as images.
    """

    def __init__(self, split: tuple[Images, np.ndarray], num_classes: int, batch_size: int, share: Share | None = None):
        super().__init__()
        self._images, self._labels = _checked(split, num_classes, batch_size)
        self._num_classes, self._batch_size, self._share = num_classes, batch_size, share or Share()
        self._prepared = Prefetcher(self._make, self._following, threads=THREADS, ahead=AHEAD)

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return self._prepared[index]

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` of the images at equal distances, or all if there are fewer, and their labels of shape (n,)."""
        rows = spread_rows(len(self._labels), count)
        return self._images[rows], self._labels[rows]

    def _following(self, index: int) -> int | None:
        return index + 1 if index + 1 < len(self) else None

    def _make(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = np.arange(len(self._labels))[index * self._batch_size : (index + 1) * self._batch_size]
        weights = np.ones(len(chosen), np.float32)
        if filling := -len(chosen) % self._share.devices:
            chosen = np.concatenate([chosen, np.repeat(chosen[-1:], filling)])
            weights = np.concatenate([weights, np.zeros(filling, np.float32)])
        mine = self._share.of(len(chosen))
        chosen, weights = chosen[mine], weights[mine]
        images, targets = self._images[chosen], one_hot(self._labels[chosen], self._num_classes)
        return (images, targets) if self._share.devices == 1 else (images, targets, weights)


def spread_rows(rows: int, count: int) -> np.ndarray:
    """Indices of `count` rows at equal distances; of all rows if there are fewer."""
    return np.linspace(0, rows - 1, min(rows, count)).round().astype(int)


def _checked(split: tuple[Images, np.ndarray], num_classes: int, batch_size: int) -> tuple[Images, np.ndarray]:
    """The images and their labels, as an array of integers."""
    images, labels = split
    labels = np.asarray(labels)
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise InputError(
            f"labels must be integers of shape ({len(images)},), one for each image, got {labels.dtype} {labels.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(f"labels must be from 0 to {num_classes - 1}, these go from {labels.min()} to {labels.max()}")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    return images, labels


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Integer labels of shape (n,) -> float32 of shape (n, num_classes)."""
    return np.eye(num_classes, dtype=np.float32)[labels]
