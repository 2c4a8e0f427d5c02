"""Datasets: a name or a path -> uint8 images and labels 0..n-1, split into train, validation and test.

What a name may be:

    digits               the UCI handwritten digits that come with scikit-learn (1,797 images of 8x8)
    mnist, svhn, ...     any image-classification set of TensorFlow Datasets
    path/to/images       a folder with one sub-folder a class (or train/ and test/ folders of such)
    path/to/file.npz     x_train, y_train, x_test, y_test and, if the classes have names, class_names

The validation images come out of the training split, always the same, whatever the run's seed and wherever the images
are held. In folders and `.npz` files the content of an image decides, so that one image more moves no other.
"""

import dataclasses
import os
import pathlib
import unicodedata
from dataclasses import dataclass

import numpy as np

from odn_keras import fingerprint, splits, spool
from odn_keras.errors import InputError
from odn_keras.fingerprint import DataFingerprint
from odn_keras.folder_dataset import open_folder
from odn_keras.npz_dataset import MAX_CLASS_NAME, open_npz
from odn_keras.options import DataOptions
from odn_keras.source import Held, Part, Source, numbered
from odn_keras.spool import Images
from odn_keras.tfds_dataset import ALIASES, open_tfds

Split = tuple[Images, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """Images of shape (n, height, width, channels), uint8, and labels of shape (n,), int64, 0 .. classes - 1.

    The images are NumPy arrays or `ImagesOnDisk`, which become NumPy arrays by indexing.

    Attributes:
        name: as it was given.
        class_names: in the order of the labels.
        fingerprint: tells whether other data are the same; set by `load_dataset`.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: DataFingerprint | None = None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.train[0].shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


def load_dataset(
    name: str,
    *,
    data_dir: str | None = None,
    image_size: tuple[int, int] | None = None,
    grayscale: bool = False,
    validation_images: int | None = None,
    train_images: int | None = None,
    in_memory: bool | None = None,
    spool_dir: str | None = None,
) -> Dataset:
    """Loads a dataset (see the module's text for the names).

    Args:
        name: dataset name, folder or `.npz` file.
        data_dir: where TensorFlow Datasets keeps its data; default: its own.
        image_size: (height, width) in pixels to which the images of a folder or TFDS set are resized; default: as
            they are, which must then be one size.
        grayscale: whether the images of a folder or TFDS set are read as one channel.
        validation_images: how many training images to set aside; default: a sixth, at most 10,000.
        train_images: use only so many training images (a random choice, always the same).
        in_memory: whether the images are held in memory or, decoded, in an unnamed file on disk; default: in memory
            where they take at most half of what is free.
        spool_dir: the folder for that file; default: the system's for temporary files.

    Raises:
        InputError: where there is no such dataset or it cannot be used.
    """
    source = _open(name, data_dir, image_size, grayscale)
    return _read(name, source, validation_images, train_images, in_memory, spool_dir)


def load(options: DataOptions, spool_dir: str | None = None) -> Dataset:
    """`load_dataset` with the options of a command; images that are not held in memory go to `spool_dir`."""
    arguments = {field.name: getattr(options, field.name) for field in dataclasses.fields(DataOptions)}
    name, size = arguments.pop("dataset"), arguments.pop("image_size")
    return load_dataset(name, image_size=(size, size) if size else None, spool_dir=spool_dir, **arguments)


def _open(name: str, data_dir, image_size, grayscale) -> Source:
    if (image_size or grayscale) and (name == "digits" or name.endswith(".npz")):
        raise InputError(f"image_size and grayscale are for folders and TFDS sets, not for {name}")
    if name == "digits":
        return _open_digits()
    if name.endswith(".npz"):
        return open_npz(pathlib.Path(os.path.expanduser(name)))
    if name not in ALIASES and os.path.isdir(os.path.expanduser(name)):
        return open_folder(pathlib.Path(os.path.expanduser(name)), image_size, grayscale)
    if name.startswith((".", "/", "~")):
        raise InputError(f"no such folder of images: {name}")
    return open_tfds(ALIASES.get(name, name), data_dir, image_size, grayscale)


def _open_digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    part = Part(len(images), images.shape[1:], lambda _: numbered(iter([(images, digits.target)])))
    return Source("digits", {"train": part}, fixed=True)


def _read(name: str, source: Source, validation_images, train_images, in_memory, spool_dir) -> Dataset:
    if source.class_names:
        _check_class_names(name, list(source.class_names.values()))
    folder = spool.choose_folder(name, sum(part.size for part in source.parts.values()), in_memory, spool_dir)
    held = {split: part.read(folder) for split, part in source.parts.items()}
    held, class_names = _number_classes(name, held, source.class_names)
    if not all(map(len, held.values())):
        raise InputError(f"{name} has {_counts(held)} images: more are needed")
    if len(class_names) < 2:
        raise InputError(f"{name} has one class only ({class_names[0]!r}): a classifier needs at least 2")
    held = _divide(held, source.fixed, validation_images, train_images)
    if not all(map(len, held.values())):
        raise InputError(f"{name} has {_counts(held)} images: more are needed")
    sizes = {split: (part.keys, part.labels) for split, part in held.items()}
    _, height, width, channels = held["train"].images.shape
    print_of = fingerprint.describe(source.kind, source.source, class_names, (height, width, channels), sizes)
    train, validation, test = ((held[split].images, held[split].labels) for split in splits.SPLITS)
    return Dataset(name, train, validation, test, tuple(class_names), print_of)


def _counts(held: dict[str, Held]) -> str:
    return ", ".join(f"{len(held[split])} {split}" for split in splits.SPLITS if split in held)


def _divide(held: dict[str, Held], fixed: bool, validation_images, train_images) -> dict[str, Held]:
    """Makes the splits that are missing out of the training images."""
    train = held["train"]
    missing = tuple(split for split in splits.SPLITS if split not in held)
    if fixed:
        places = splits.by_position(train.labels, missing, validation_images, train_images)
    else:
        places = splits.by_key(train.keys, train.labels, missing, validation_images, train_images)
    images = spool.arrange(train.images, np.concatenate(list(places.values())))
    start, divided = 0, dict(held)
    for split, indices in places.items():
        some = spool.subset(images, slice(start, start + len(indices)))
        divided[split] = Held(some, train.labels[indices], train.keys[indices])
        start += len(indices)
    return divided


def _number_classes(
    name: str, held: dict[str, Held], names: dict[int, str] | None
) -> tuple[dict[str, Held], list[str]]:
    """Labels of any integers -> 0 .. n-1 in their order, and their class names."""
    values = np.unique(np.concatenate([part.labels for part in held.values()]))
    if names and (unknown := set(values.tolist()) - set(names)):
        raise InputError(f"{name} has images of class {min(unknown)}, but names for {min(names)} to {max(names)} only")
    numbered = {
        split: dataclasses.replace(part, labels=np.searchsorted(values, part.labels)) for split, part in held.items()
    }
    return numbered, [names[int(value)] if names else str(value) for value in values]


def _check_class_names(name: str, class_names: list[str]) -> None:
    """Refuses names that would be no line of a file or could be taken for one another."""
    seen: dict[str, str] = {}
    for class_name in class_names:
        plain = unicodedata.normalize("NFC", class_name).strip()
        if len(class_name) > MAX_CLASS_NAME:
            wrong = f"is longer than {MAX_CLASS_NAME} characters"
        elif not plain:
            wrong = "is empty"
        elif any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in class_name):
            wrong = "has control or undecodable characters"
        elif plain in seen:
            wrong = f"looks the same as {seen[plain]!r}"
        else:
            seen[plain] = class_name
            continue
        raise InputError(f"{name} has a class name that {wrong}: {class_name[:50]!r}; rename the class")
