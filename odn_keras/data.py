"""Datasets: a name or a path -> uint8 images and labels 0..n-1, split into train, validation and test.

What a name may be:

    digits               the UCI handwritten digits that come with scikit-learn (1,797 images of 8x8)
    mnist, svhn, ...     any image-classification set of TensorFlow Datasets
    path/to/images       a folder with one sub-folder a class (or train/ and test/ folders of such)
    path/to/file.npz     x_train, y_train, x_test, y_test

The validation images come out of the training split, class by class and always the same, whatever the run's seed.
"""

import math
import os
import pathlib
import socket
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps
from sklearn.model_selection import train_test_split

from odn_keras.errors import InputError

MAX_VALIDATION_IMAGES = 10_000
VALIDATION_FRACTION = 1 / 6
TEST_FRACTION = 0.15
TFDS_READ_BATCH = 1000
TFDS_HOST = "storage.googleapis.com"  # where TFDS looks first

ALIASES = {"svhn": "svhn_cropped", "emnist": "emnist/letters"}
EMNIST_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """Images of shape (n, height, width, channels), uint8, and labels of shape (n,), int64, 0 .. classes - 1."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.train[0].shape[1:]

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

    Raises:
        InputError: where there is no such dataset or it cannot be used.
    """
    if (image_size or grayscale) and (name == "digits" or name.endswith(".npz")):
        raise InputError(f"image_size and grayscale are for folders and TFDS sets, not for {name}")
    if name == "digits":
        train, test, class_names = _load_digits()
    elif name.endswith(".npz"):
        train, test, class_names = _load_npz(pathlib.Path(os.path.expanduser(name)))
    elif name not in ALIASES and os.path.isdir(os.path.expanduser(name)):
        train, test, class_names = _load_folder(pathlib.Path(os.path.expanduser(name)), image_size, grayscale)
    elif name.startswith((".", "/", "~")):
        raise InputError(f"no such folder of images: {name}")
    else:
        train, test, class_names = _load_tfds(ALIASES.get(name, name), data_dir, image_size, grayscale)
    return _assemble(name, train, test, class_names, validation_images, train_images)


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
    return (images[kept], labels[kept]), (images[taken], labels[taken])


def _split_off_test(images, labels) -> tuple[Split, Split]:
    return _split(images, labels, max(1, round(TEST_FRACTION * len(labels))))


def _numbered(labels: np.ndarray, names: dict[int, str] | None = None) -> tuple[np.ndarray, list[str]]:
    """Labels of any integers -> 0 .. n-1 in their order, and their class names."""
    values, numbered = np.unique(labels, return_inverse=True)
    return numbered.astype(np.int64), [names[int(v)] if names else str(v) for v in values]


def _load_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    train, test = _split_off_test(images, digits.target.astype(np.int64))
    return train, test, [str(n) for n in range(10)]


def _load_npz(path: pathlib.Path):
    wanted = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in wanted if key not in file.files]
            if missing:
                raise InputError(f"{path} lacks {', '.join(missing)} (it holds {', '.join(file.files) or 'nothing'})")
            x_train, y_train, x_test, y_test = (file[key] for key in wanted)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except ValueError as error:
        raise InputError(f"{path} holds Python objects or is damaged; save plain arrays ({error})") from error
    except Exception as error:
        raise InputError(f"{path} is not a readable .npz file ({type(error).__name__}: {error})") from error
    for key, labels in (("y_train", y_train), ("y_test", y_test)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"labels must be integers: {key} in {path} has type {labels.dtype}")
    both = np.concatenate([y_train.ravel(), y_test.ravel()])
    labels, class_names = _numbered(both)
    splits = []
    for key, images, part in (
        ("train", x_train, labels[: y_train.size]),
        ("test", x_test, labels[y_train.size :]),
    ):
        images = images[..., np.newaxis] if images.ndim == 3 else images
        if images.ndim != 4 or images.dtype != np.uint8:
            raise InputError(
                f"x_{key} in {path} must be uint8 of shape (n, height, width[, channels]), "
                f"got {images.dtype} of shape {images.shape}"
            )
        if len(images) != len(part):
            raise InputError(f"{path} has {len(images)} images but {len(part)} labels in its {key} split")
        splits.append((images, part))
    if splits[0][0].shape[1:] != splits[1][0].shape[1:]:
        raise InputError(f"{path}: x_train and x_test differ in shape, {x_train.shape[1:]} and {x_test.shape[1:]}")
    return splits[0], splits[1], class_names


def _load_folder(path: pathlib.Path, image_size, grayscale):
    parts = set(_class_folders(path))
    if {"train", "test"} <= parts:
        if parts != {"train", "test"}:
            raise InputError(
                f"{path} has train and test folders, so {sorted(parts - {'train', 'test'})} cannot be classes"
            )
        classes = _class_folders(path / "train")
        if extra := set(_class_folders(path / "test")) - set(classes):
            raise InputError(f"{path / 'test'} has classes that {path / 'train'} lacks: {', '.join(sorted(extra))}")
        train = _read_folder(path / "train", classes, image_size, grayscale)
        test = _read_folder(path / "test", classes, image_size or train[0].shape[1:3], grayscale)
        if train[0].shape[-1] != test[0].shape[-1]:
            raise InputError(f"{path}: train and test images differ in their number of channels; use --grayscale")
    else:
        classes = _class_folders(path)
        images, labels = _read_folder(path, classes, image_size, grayscale)
        if len(images) < 2:
            raise InputError(f"{path} holds {len(images)} image: not enough for a train and a test split")
        train, test = _split_off_test(images, labels)
    return train, test, classes


def _class_folders(path: pathlib.Path) -> list[str]:
    classes = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise InputError(f"{path} has no sub-folders: put the images of each class into a folder of its own")
    return classes


def _read_folder(path: pathlib.Path, classes: list[str], image_size, grayscale) -> Split:
    images, labels, first = [], [], None
    for label, name in enumerate(classes):
        folder = path / name
        files = sorted(file for file in folder.glob("[!.]*") if file.is_file())
        if not files:
            raise InputError(f"class folder {folder} holds no images")
        for file in files:
            image = _read_image(file, image_size, grayscale)
            first = first or (file, image.shape)
            if image.shape[-1] != first[1][-1]:
                raise InputError(
                    f"images of different channel counts: {first[0]} has {first[1][-1]}, {file} has {image.shape[-1]}; "
                    "use --grayscale or convert them"
                )
            if image.shape != first[1]:
                raise InputError(
                    f"images of different sizes: {first[0]} is {first[1][:2]}, {file} is {image.shape[:2]}; "
                    "give --image_size"
                )
            images.append(image)
            labels.append(label)
    return np.stack(images), np.array(labels, dtype=np.int64)


def _read_image(file: pathlib.Path, image_size, grayscale) -> np.ndarray:
    """An image file -> uint8 of shape (height, width, 1 or 3)."""
    try:
        with Image.open(file) as stored:
            upright = ImageOps.exif_transpose(stored)
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.mode in ("I", "F"):
                raise InputError(f"cannot read the image {file}: 32 bits a pixel; save it with 8 or 16")
            grey = grayscale or upright.mode in ("1", "L", "LA")
            if upright.has_transparency_data:  # what is transparent is seen on white
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            image = upright.convert("L" if grey else "RGB")
            if image_size:
                image = image.resize((image_size[1], image_size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, dtype=np.uint8)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot read the image {file} ({type(error).__name__}: {error})") from error
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def _load_tfds(name: str, data_dir: str | None, image_size, grayscale):
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise InputError(
            f"dataset {name!r} comes from TensorFlow Datasets: pip install 'odn_keras[tensorflow]' ({error})"
        ) from error
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        raise InputError(
            f"unknown dataset {name!r}: give digits, a TensorFlow Datasets name, a folder of images or an .npz file "
            f"({str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__})"
        ) from error
    _prepare(builder, name, data_dir)
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
    train = _read_tfds(builder, "train", image_size, grayscale)
    test = None
    for split in ("test", "validation"):
        if test is None and split in splits:
            candidate = _read_tfds(builder, split, image_size, grayscale)
            test = candidate if candidate[1].min() >= 0 else None  # some sets hide their test labels as -1
    if test is None:
        train, test = _split_off_test(*train)
    names = EMNIST_LETTERS if name == "emnist/letters" else features["label"].names
    first = 1 if name == "emnist/letters" else 0
    labels, class_names = _numbered(np.concatenate([train[1], test[1]]), dict(enumerate(names, start=first)))
    if name.startswith("emnist"):  # TFDS stores them transposed, as the original files do
        train, test = ((images.transpose(0, 2, 1, 3), labels) for images, labels in (train, test))
    return (train[0], labels[: len(train[1])]), (test[0], labels[len(train[1]) :]), class_names


def _prepare(builder, name: str, data_dir: str | None) -> None:
    """Downloads the dataset unless it is there."""
    try:
        builder.as_dataset(split="train")
        return
    except Exception:  # what it raises for missing data has changed between versions
        where = data_dir or "TFDS's data folder"
    if not _online():
        raise InputError(f"dataset {name!r} is not in {where}, and there is no network to download it: see --data_dir")
    try:
        builder.download_and_prepare()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"dataset {name!r} is not in {where} and could not be downloaded ({reason[:200]})") from error


def _online() -> bool:
    """Whether a download can be tried: TFDS itself would retry for minutes and leave half a folder behind."""
    if any(name.lower() in ("http_proxy", "https_proxy") for name in os.environ):
        return True
    try:
        socket.getaddrinfo(TFDS_HOST, 443)
    except OSError:
        return False
    return True


def _read_tfds(builder, split: str, image_size, grayscale) -> Split:
    import tensorflow as tf

    def read(example):
        image = example["image"]
        if image_size:
            image = tf.cast(tf.round(tf.image.resize(image, image_size, antialias=True)), tf.uint8)
        if grayscale and image.shape[-1] == 3:
            image = tf.image.rgb_to_grayscale(image)
        return image, example["label"]

    dataset = builder.as_dataset(split=split, shuffle_files=False).map(read).batch(TFDS_READ_BATCH)
    images, labels = (np.concatenate(parts) for parts in zip(*dataset.as_numpy_iterator(), strict=True))
    return images, labels.astype(np.int64)
