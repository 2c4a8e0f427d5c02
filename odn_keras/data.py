"""Datasets: a name or a path -> uint8 images and labels 0..n-1, split into train, validation and test.

What a name may be:

    digits               the UCI handwritten digits that come with scikit-learn (1,797 images of 8x8)
    mnist, svhn, ...     any image-classification set of TensorFlow Datasets
    path/to/images       a folder with one sub-folder a class (or train/ and test/ folders of such)
    path/to/file.npz     x_train, y_train, x_test, y_test and, if the classes have names, class_names

The validation images come out of the training split, class by class and always the same, whatever the run's seed and
wherever the images are held.
"""

import dataclasses
import math
import os
import pathlib
import re
import socket
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from odn_keras import npz, spool
from odn_keras.errors import InputError
from odn_keras.images import read_image
from odn_keras.options import DataOptions
from odn_keras.quiet import quiet
from odn_keras.spool import Images

MAX_VALIDATION_IMAGES = 10_000
VALIDATION_FRACTION = 1 / 6
TEST_FRACTION = 0.15
CHUNK_BYTES = 2**24  # of images read at a time
MAX_CLASS_NAME = 200
TFDS_HOST = "storage.googleapis.com"  # where TFDS looks first

ALIASES = {"svhn": "svhn_cropped", "emnist": "emnist/letters"}
EMNIST_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

Split = tuple[Images, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """Images of shape (n, height, width, channels), uint8, and labels of shape (n,), int64, 0 .. classes - 1.

    The images are NumPy arrays or `ImagesOnDisk`, which become NumPy arrays by indexing.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.train[0].shape
        return height, width, channels

    @property
    def num_classes(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class _Part:
    """A split not read yet: how many images of which shape it announces, and what reads it, so many at a time."""

    count: int
    shape: tuple[int, ...]
    chunks: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]

    @property
    def size(self) -> int:
        return self.count * math.prod(self.shape)

    def read(self, folder: str | None) -> Split:
        labels = [np.empty(0, np.int64)]

        def images():
            for chunk, its_labels in self.chunks(max(1, CHUNK_BYTES // math.prod(self.shape))):
                labels.append(its_labels.astype(np.int64))
                yield chunk

        held = spool.hold(images(), self.shape, folder)
        return held, np.concatenate(labels)


_ImageFile = tuple[pathlib.Path, int]  # and its label

# The training images, the test images if they are set apart, and the names of the labels if they have names.
_Source = tuple[_Part, _Part | None, dict[int, str] | None]


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
    if (image_size or grayscale) and (name == "digits" or name.endswith(".npz")):
        raise InputError(f"image_size and grayscale are for folders and TFDS sets, not for {name}")
    if name == "digits":
        source = _open_digits()
    elif name.endswith(".npz"):
        source = _open_npz(pathlib.Path(os.path.expanduser(name)))
    elif name not in ALIASES and os.path.isdir(os.path.expanduser(name)):
        source = _open_folder(pathlib.Path(os.path.expanduser(name)), image_size, grayscale)
    elif name.startswith((".", "/", "~")):
        raise InputError(f"no such folder of images: {name}")
    else:
        source = _open_tfds(ALIASES.get(name, name), data_dir, image_size, grayscale)
    train, test, class_names = _read(name, source, in_memory, spool_dir)
    return _assemble(name, train, test, class_names, validation_images, train_images)


def load(options: DataOptions, spool_dir: str | None = None) -> Dataset:
    """`load_dataset` with the options of a command; images that are not held in memory go to `spool_dir`."""
    arguments = {field.name: getattr(options, field.name) for field in dataclasses.fields(DataOptions)}
    name, size = arguments.pop("dataset"), arguments.pop("image_size")
    return load_dataset(name, image_size=(size, size) if size else None, spool_dir=spool_dir, **arguments)


def _read(name: str, source: _Source, in_memory, spool_dir) -> tuple[Split, Split, list[str]]:
    parts = [part for part in source[:2] if part]
    names = source[2]
    if names:
        _check_class_names(name, list(names.values()))
    folder = spool.choose_folder(name, sum(part.size for part in parts), in_memory, spool_dir)
    splits = [part.read(folder) for part in parts]
    labels, class_names = _numbered(name, np.concatenate([labels for _, labels in splits]), names)
    images, count = splits[0][0], len(splits[0][1])
    if len(splits) == 2:
        return (images, labels[:count]), (splits[1][0], labels[count:]), class_names
    if count < 2:
        raise InputError(f"{name} holds {count} image: not enough for a train and a test split")
    return *_split_off_test(images, labels), class_names


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


def _assemble(name, train, test, class_names, validation_images, train_images) -> Dataset:
    images, labels = train
    if not len(images) or not len(test[0]):
        raise InputError(f"{name} has {len(images)} training and {len(test[0])} test images: both are needed")
    if len(class_names) < 2:
        raise InputError(f"{name} has one class only ({class_names[0]!r}): a classifier needs at least 2")
    if validation_images is None:
        validation_images = min(MAX_VALIDATION_IMAGES, math.ceil(VALIDATION_FRACTION * len(images)))
    if not 0 < validation_images < len(images):
        raise InputError(f"validation_images must be from 1 to {len(images) - 1}, got {validation_images}")
    train, validation = _split(images, labels, validation_images)
    if train_images is not None:
        if not 0 < train_images <= len(train[0]):
            raise InputError(f"train_images must be from 1 to {len(train[0])}, got {train_images}")
        if train_images < len(train[0]):
            _, train = _split(train[0], train[1], train_images)
    return Dataset(name, train, validation, test, tuple(class_names))


def _split(images, labels, held_out: int) -> tuple[Split, Split]:
    """Takes `held_out` images away, in equal shares of every class where that is possible."""
    fewest = np.bincount(labels)[np.unique(labels)].min()
    classes = len(np.unique(labels))
    stratify = labels if fewest >= 2 and held_out >= classes and len(labels) - held_out >= classes else None
    kept, taken = train_test_split(np.arange(len(labels)), test_size=held_out, random_state=0, stratify=stratify)
    return (spool.subset(images, kept), labels[kept]), (spool.subset(images, taken), labels[taken])


def _split_off_test(images, labels) -> tuple[Split, Split]:
    return _split(images, labels, max(1, round(TEST_FRACTION * len(labels))))


def _numbered(name: str, labels: np.ndarray, names: dict[int, str] | None) -> tuple[np.ndarray, list[str]]:
    """Labels of any integers -> 0 .. n-1 in their order, and their class names."""
    values, numbered = np.unique(labels, return_inverse=True)
    if names and (unknown := set(values.tolist()) - set(names)):
        raise InputError(f"{name} has images of class {min(unknown)}, but names for {min(names)} to {max(names)} only")
    return numbered.astype(np.int64), [names[int(v)] if names else str(v) for v in values]


def _open_digits() -> _Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return _Part(len(images), images.shape[1:], lambda _: iter([(images, digits.target)])), None, None


def _open_npz(path: pathlib.Path) -> _Source:
    arrays = npz.open_npz(path, ("x_train", "y_train", "x_test", "y_test"), ("class_names",))
    train, test = (_npz_part(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test"))
    if train.shape != test.shape:
        raise InputError(f"{path}: x_train and x_test differ in shape, {train.shape} and {test.shape}")
    if "class_names" not in arrays:
        return train, test, None
    names = _npz_class_names(arrays["class_names"])
    labels = np.unique(np.concatenate([arrays["y_train"].read().ravel(), arrays["y_test"].read().ravel()]))
    if odd := set(labels.tolist()) ^ set(range(len(names))):
        raise InputError(
            f"{path} has {len(names)} class_names, so its labels must be 0 to {len(names) - 1} and all occur: "
            f"{min(odd)} has no {'images' if min(odd) in range(len(names)) else 'name'}"
        )
    return train, test, dict(enumerate(names))


def _npz_part(images: npz.StoredArray, labels: npz.StoredArray) -> _Part:
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels must be integers: {labels.key} in {labels.path} has type {labels.dtype}")
    if len(images.shape) not in (3, 4) or images.dtype != np.uint8 or 0 in images.shape[1:]:
        raise InputError(
            f"{images.key} in {images.path} must be uint8 of shape (n, height, width[, channels]), "
            f"got {images.dtype} of shape {images.shape}"
        )
    count = images.shape[0]
    if labels.shape not in ((count,), (count, 1)):
        raise InputError(
            f"{images.key} in {images.path} has {count} images, so {labels.key} must be of shape ({count},), "
            f"got {labels.shape}"
        )
    shape = images.shape[1:] if len(images.shape) == 4 else (*images.shape[1:], 1)

    def chunks(rows):
        for some, their_labels in zip(images.chunks(rows), labels.chunks(rows), strict=True):
            yield some.reshape(-1, *shape), their_labels.ravel()

    return _Part(count, shape, chunks)


def _npz_class_names(stored: npz.StoredArray) -> list[str]:
    where = f"class_names in {stored.path}"
    if stored.dtype.kind != "U" or len(stored.shape) != 1:
        raise InputError(f"{where} must be str of shape (classes,), got {stored.dtype} of shape {stored.shape}")
    if (longest := stored.dtype.itemsize // 4) > MAX_CLASS_NAME:
        raise InputError(f"{where} must have at most {MAX_CLASS_NAME} characters each, got {longest}")
    array = stored.read()
    if array.view(array.dtype.byteorder + "u4").max(initial=0) > sys.maxunicode:
        raise InputError(f"{where} have characters that do not exist: the file is damaged")
    names = array.tolist()
    for name in names:
        if name.strip() in (".", "..") or "/" in name or "\\" in name:
            raise InputError(f"{where} must not be paths, got {name!r}: rename the class")
    return names


def _open_folder(path: pathlib.Path, image_size, grayscale) -> _Source:
    parts = set(_class_folders(path))
    if not {"train", "test"} <= parts:
        classes = _class_folders(path)
        files = _image_files(path, classes)
        return _folder_part(files, files[0], image_size, grayscale), None, dict(enumerate(classes))
    if parts != {"train", "test"}:
        raise InputError(f"{path} has train and test folders, so {sorted(parts - {'train', 'test'})} cannot be classes")
    classes = _class_folders(path / "train")
    if extra := set(_class_folders(path / "test")) - set(classes):
        raise InputError(f"{path / 'test'} has classes that {path / 'train'} lacks: {', '.join(sorted(extra))}")
    files = _image_files(path / "train", classes)
    train = _folder_part(files, files[0], image_size, grayscale)
    test = _folder_part(_image_files(path / "test", classes), files[0], image_size or train.shape[:2], grayscale)
    return train, test, dict(enumerate(classes))


def _entries(path: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {path} ({error.strerror})") from error


def _class_folders(path: pathlib.Path) -> list[str]:
    entries = _entries(path)
    for entry in entries:
        if entry.is_symlink() and not entry.exists():
            raise InputError(f"{entry} is a link that leads nowhere or in circles: take it away")
    classes = [entry.name for entry in entries if entry.is_dir()]
    if not classes:
        raise InputError(f"{path} has no sub-folders: put the images of each class into a folder of its own")
    return classes


def _image_files(path: pathlib.Path, classes: list[str]) -> list[_ImageFile]:
    found = []
    for label, name in enumerate(classes):
        files = [entry for entry in _entries(path / name) if not entry.is_dir()]
        if not files:
            raise InputError(f"class folder {path / name} holds no images")
        for file in files:
            if not file.is_file():  # opening a pipe would wait for ever
                raise InputError(f"{file} is no regular file but a pipe, a device or a dead link: take it away")
            found.append((file, label))
    return found


def _folder_part(files: list[_ImageFile], first: _ImageFile, image_size, grayscale) -> _Part:
    """The images of `files`, which must all be like the first one of the dataset."""
    channels = 1 if grayscale else None
    shape = read_image(first[0], image_size, channels).shape

    def chunks(_):
        for file, label in files:
            image = read_image(file, image_size, channels)
            if image.shape[-1] != shape[-1]:
                raise InputError(
                    f"images of different channel counts: {first[0]} has {shape[-1]}, {file} has {image.shape[-1]}; "
                    "use --grayscale or convert them"
                )
            if image.shape != shape:
                raise InputError(
                    f"images of different sizes: {first[0]} is {shape[:2]}, {file} is {image.shape[:2]}; "
                    "give --image_size"
                )
            yield image[np.newaxis], np.array([label])

    return _Part(len(files), shape, chunks)


def _open_tfds(name: str, data_dir: str | None, image_size, grayscale) -> _Source:
    try:
        with quiet(show_on_failure=False):
            import tensorflow as tf
            import tensorflow_datasets as tfds

            tf.zeros(())  # the first tensor has greetings too
    except ImportError as error:
        raise InputError(
            f"dataset {name!r} comes from TensorFlow Datasets: pip install 'odn_keras[tensorflow]' ({error})"
        ) from error
    where = data_dir or "TFDS's data folder"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise InputError(
            f"unknown dataset {name!r}: give digits, a TensorFlow Datasets name, a folder of images or an .npz file "
            f"({_reason(error)})"
        ) from error
    except Exception as error:
        raise InputError(f"dataset {name!r} in {where} cannot be opened ({_reason(error)})") from error
    _prepare(builder, name, where)
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not isinstance(features["label"], tfds.features.ClassLabel):
        raise InputError(f"dataset {name!r} is no image-classification set: it has {', '.join(sorted(features))}")
    if features["image"].np_dtype != np.uint8:
        raise InputError(
            f"the images of {name!r} are {np.dtype(features['image'].np_dtype)}: 8 bits a channel are needed"
        )
    if None in features["image"].shape[:2] and not image_size:
        raise InputError(f"the images of {name!r} vary in size: give --image_size")
    splits = set(builder.info.splits) or {"train", "test"}
    if "train" not in splits:
        raise InputError(f"dataset {name!r} has no train split: it has {', '.join(sorted(splits))}")
    train, _ = _tfds_part(builder, name, "train", image_size, grayscale)
    test = None
    for split in ("test", "validation"):
        if test is None and split in splits:
            candidate, label = _tfds_part(builder, name, split, image_size, grayscale)
            test = candidate if label >= 0 else None  # some sets hide their test labels as -1
    names = EMNIST_LETTERS if name == "emnist/letters" else features["label"].names
    return train, test, dict(enumerate(names, start=1 if name == "emnist/letters" else 0))


def _prepare(builder, name: str, where: str) -> None:
    """Downloads the dataset unless it is there."""
    try:
        builder.as_dataset(split="train")
        return
    except Exception as error:  # what it raises for missing data has changed between versions
        if builder.data_path.exists():
            raise _damaged(builder, name, error) from error
    if not _online():
        raise InputError(f"dataset {name!r} is not in {where}, and there is no network to download it: see --data_dir")
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise InputError(
            f"dataset {name!r} is not in {where} and could not be downloaded ({_reason(error)})"
        ) from error


def _online() -> bool:
    """Whether a download can be tried: TFDS itself would retry for minutes and leave half a folder behind."""
    if any(name.lower() in ("http_proxy", "https_proxy") for name in os.environ):
        return True
    try:
        socket.getaddrinfo(TFDS_HOST, 443)
    except OSError:
        return False
    return True


def _tfds_part(builder, name: str, split: str, image_size, grayscale) -> tuple[_Part, int]:
    """A split, and its first label."""
    import tensorflow as tf

    transposed = name.startswith("emnist")  # TFDS stores them so, as the original files do
    size = image_size[::-1] if image_size and transposed else image_size

    def read(example):
        image = example["image"]
        if size:
            image = tf.cast(tf.round(tf.image.resize(image, size, antialias=True)), tf.uint8)
        if grayscale and image.shape[-1] == 3:
            image = tf.image.rgb_to_grayscale(image)
        return image, example["label"]

    def chunks(rows):
        examples = builder.as_dataset(split=split, shuffle_files=False).map(read).batch(rows)
        try:
            for images, labels in examples.as_numpy_iterator():
                yield images.transpose(0, 2, 1, 3) if transposed else images, labels
        except Exception as error:  # TensorFlow's own, and TFDS's
            raise _damaged(builder, name, error) from error

    first = next(chunks(1), None)
    if first is None:
        raise InputError(f"dataset {name!r} has no images in its {split} split")
    image, label = first
    info = builder.info.splits.get(split)  # None in mock_data
    return _Part(info.num_examples if info else 0, image.shape[1:], chunks), int(label[0])


def _damaged(builder, name: str, error: Exception) -> InputError:
    return InputError(f"dataset {name!r} in {builder.data_path} is damaged ({_reason(error)}): prepare it again")


def _reason(error: Exception) -> str:
    """What an exception of TensorFlow or TFDS says, in short."""
    lines = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error)).strip().splitlines()
    return lines[0].strip()[:200] if lines else type(error).__name__
