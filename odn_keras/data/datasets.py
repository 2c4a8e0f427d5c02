"""Datasets: a name or a path -> uint8 images and labels 0..n-1, split into train, validation and test.

What a name may be:

    digits               the UCI handwritten digits that come with scikit-learn (1,797 images of 8x8)
    mnist, svhn, ...     any image-classification set of TensorFlow Datasets
    path/to/images       a folder with one sub-folder a class (or train/, val/ and test/ folders of such)
    path/to/file.npz     x_train, y_train, x_test, y_test; x_val, y_val if set apart; class_names if there are names

Missing splits are taken out of the training images, always in the same way: neither the seed of the run nor the place
where the images are held matters. In folders and `.npz` files the content of an image decides, so that an added image
moves no other.
"""

import dataclasses
import os
import pathlib
import unicodedata
import warnings
from dataclasses import dataclass

import numpy as np

from odn_keras.data import disk_images, fingerprint, remarks, splits
from odn_keras.data.disk_images import Images
from odn_keras.data.fingerprint import DataFingerprint
from odn_keras.data.folder import open_folder
from odn_keras.data.npz import MAX_CLASS_NAME, open_npz
from odn_keras.data.resizing import STRETCH, parse_size
from odn_keras.data.source import Held, Part, Reading, Source, numbered
from odn_keras.data.tfds import ALIASES, open_tfds
from odn_keras.errors import InputError

Split = tuple[Images, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """Images of shape (n, height, width, channels), uint8, and labels of shape (n,), int64, 0 .. classes - 1.

    The images are NumPy arrays or `ImagesOnDisk`, which become NumPy arrays by indexing.

    Attributes:
        name: as it was given.
        class_names: in the order of the labels.
        fingerprint: to check later that data are the same; set by `load_dataset`.
        notes: what was converted, left out or is scarce, one line each.
        resize: how images of other shapes were brought to this one: one of `odn_keras.data.resizing.RESIZES`.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: DataFingerprint | None = None
    notes: tuple[str, ...] = ()
    resize: str = STRETCH

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images."""
        _, height, width, channels = self.train[0].shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def load_dataset(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | str | tuple[int, int] | None = None,
    resize: str = STRETCH,
    grayscale: bool = False,
    validation_images: int | None = None,
    train_images: int | None = None,
    in_memory: bool | None = None,
    spool_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a dataset (see the text of the module for the names), and warns with each of its `Dataset.notes`.

    Args:
        name: dataset name, folder or `.npz` file.
        data_dir: where TensorFlow Datasets keeps its data; default: its own.
        image_size: (height, width) in pixels, the same as "96x64", or one number for both, to which the images of a
            folder or TFDS set are resized; default: as they are, which must then be one size.
        resize: how: `"stretch"` changes the proportions, `"crop"` takes the middle part of the right proportions,
            `"pad"` adds black borders.
        grayscale: whether the images of a folder or TFDS set are read as one channel.
        validation_images: how many training images to set aside; default: a sixth, at most 10,000.
        train_images: use only so many training images (a random choice, always the same).
        in_memory: whether the images are held in memory or, decoded, in an unnamed file on disk; default: in memory
            where they take at most half of what is free and the process may have.
        spool_dir: the folder for that file; default: the system's for temporary files.

    Raises:
        InputError: where there is no such dataset or it cannot be used.
    """
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise InputError(f"dataset must be a name or a path, got {name!r}")
    name = os.fspath(name)
    try:
        source = _open(name, data_dir, Reading(parse_size(image_size), resize, grayscale))
        dataset = _read(
            name,
            source,
            validation_images=validation_images,
            train_images=train_images,
            in_memory=in_memory,
            spool_dir=spool_dir,
        )
        dataset = dataclasses.replace(dataset, resize=resize)
    except MemoryError as error:
        hint = "" if in_memory is False else ": in_memory=False (--in_memory=false) holds its images on disk"
        raise InputError(f"{name} needs more memory than this process can have{hint}") from error
    for note in dataset.notes:
        warnings.warn(note, stacklevel=2)
    return dataset


def _open(name: str, data_dir: str | os.PathLike[str] | None, reading: Reading) -> Source:
    path = pathlib.Path(os.path.expanduser(name))
    try:
        path.exists()
    except OSError as error:
        raise InputError(f"cannot open {name[:200]} ({error.strerror})") from error
    is_npz = name.lower().endswith(".npz")
    if reading != Reading() and (name == "digits" or is_npz):
        raise InputError(f"image_size, resize and grayscale are for folders and TFDS sets, not for {name}")
    if name == "digits" or name in ALIASES:
        source = _open_digits() if name == "digits" else open_tfds(ALIASES[name], data_dir, reading)
        if path.is_dir():
            source.notes.append(f"{name} is the dataset of that name; for the folder here give ./{name}")
        return source
    if is_npz:
        return open_npz(path)
    if path.is_dir():
        return open_folder(path, reading)
    if path.exists():
        raise InputError(f"{name} is neither a folder of images nor an .npz file")
    if name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name:
        raise InputError(f"no such folder of images: {name}")
    return open_tfds(name, data_dir, reading)


def _open_digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    part = Part(len(images), images.shape[1:], lambda _: numbered(iter([(images, digits.target)])))
    return Source("digits", {"train": part}, fixed=True)


def _read(
    name: str,
    source: Source,
    *,
    validation_images: int | None,
    train_images: int | None,
    in_memory: bool | None,
    spool_dir: str | os.PathLike[str] | None,
) -> Dataset:
    if source.class_names:
        _check_class_names(name, list(source.class_names.values()))
    folder = disk_images.choose_folder(
        name, sum(part.size for part in source.parts.values()), in_memory, spool_dir=spool_dir
    )
    held = {split: part.read(folder) for split, part in source.parts.items()}
    source.check()
    held, class_names = _number_classes(name, held, source.class_names)
    _check_counts(name, held)
    if len(class_names) < 2:
        raise InputError(f"{name} has one class only ({class_names[0]!r}): a classifier needs at least 2")
    if source.kind != "tfds":
        _check_classes(name, held, class_names)
    if "validation" in held and validation_images is not None:
        raise InputError(
            f"{name} has validation images of its own: validation_images cannot be counted out of training"
        )
    held = _divide(held, source.fixed, validation_images, train_images=train_images)
    _check_counts(name, held)
    notes = [*source.notes, *remarks.on_classes(held, class_names), *remarks.on_numbers(held), *remarks.on_pixels(held)]
    if not source.fixed:
        notes += remarks.on_copies(held, class_names)
    keys_and_labels = {split: (part.keys, part.labels) for split, part in held.items()}
    _, height, width, channels = held["train"].images.shape
    print_of = fingerprint.describe(
        source.kind, source.source, class_names, shape=(height, width, channels), splits=keys_and_labels
    )
    train, validation, test = ((held[split].images, held[split].labels) for split in splits.SPLITS)
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        class_names=tuple(class_names),
        fingerprint=print_of,
        notes=tuple(notes),
    )


def _check_counts(name: str, held: dict[str, Held]) -> None:
    if not all(map(len, held.values())):
        counts = ", ".join(f"{len(held[split])} {split}" for split in splits.SPLITS if split in held)
        raise InputError(f"{name} has {counts} images: too few; 3 images of a class give one to each split")


def _check_classes(name: str, held: dict[str, Held], class_names: list[str]) -> None:
    for label in sorted(set(range(len(class_names))) - set(held["train"].labels.tolist())):
        split = next(split for split, part in held.items() if label in part.labels)
        raise InputError(f"{name} has class {class_names[label]!r} in its {split} split only: nothing to train on")


def _divide(
    held: dict[str, Held], fixed: bool, validation_images: int | None, train_images: int | None
) -> dict[str, Held]:
    """Takes the missing splits out of the training images."""
    train = held["train"]
    missing = tuple(split for split in splits.SPLITS if split not in held)
    if fixed:
        places = splits.by_position(train.labels, missing, validation_images, train_images=train_images)
    else:
        places = splits.by_key(
            train.keys, train.labels, missing, validation_images=validation_images, train_images=train_images
        )
    images = disk_images.arrange(train.images, np.concatenate(list(places.values())))
    start, divided = 0, dict(held)
    for split, indices in places.items():
        some = disk_images.subset(images, slice(start, start + len(indices)))
        divided[split] = Held(some, train.labels[indices], train.keys[indices])
        start += len(indices)
    return divided


def _number_classes(
    name: str, held: dict[str, Held], names: dict[int, str] | None
) -> tuple[dict[str, Held], list[str]]:
    """Renumbers labels 0 .. n-1 in their order; returns the class names as well."""
    values = np.unique(np.concatenate([part.labels for part in held.values()]))
    if names and (unknown := set(values.tolist()) - set(names)):
        raise InputError(f"{name} has images of class {min(unknown)}, but names for {min(names)} to {max(names)} only")
    numbered = {
        split: dataclasses.replace(part, labels=np.searchsorted(values, part.labels)) for split, part in held.items()
    }
    return numbered, [names[int(value)] if names else str(value) for value in values]


def _check_class_names(name: str, class_names: list[str]) -> None:
    """Raises `InputError` for names that cannot be a line of a file, or look the same as another."""
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
