"""Image-classification sets of TensorFlow Datasets."""

import os
import re
import socket

import numpy as np

from odn_keras.data.resizing import scaled_size
from odn_keras.data.source import Part, Reading, Source, numbered
from odn_keras.errors import InputError
from odn_keras.quiet import quiet

TFDS_HOST = "storage.googleapis.com"  # where TFDS looks first
ALIASES = {"svhn": "svhn_cropped", "emnist": "emnist/letters"}
EMNIST_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def open_tfds(name: str, data_dir: str | os.PathLike | None, reading: Reading) -> Source:
    """Opens a set of TensorFlow Datasets, which is downloaded where it is missing.

    Args:
        name: as TFDS has it, with configuration and version as far as needed.
        data_dir: where it is; default: TFDS's own folder.
        reading: what every image becomes; without a size they must be of one.

    Raises:
        InputError: where there is no such set, or it cannot be used or downloaded.
    """
    data_dir = os.path.expanduser(data_dir) if data_dir else None
    try:
        with quiet(show_on_failure=False):
            import tensorflow as tf
            import tensorflow_datasets as tfds

            tf.zeros(())  # the first tensor has greetings too
    except ImportError as error:
        raise InputError(
            f"{f'no such folder of images: {name}; if ' if '/' in name else ''}dataset {name!r} comes from TensorFlow "
            f"Datasets: pip install 'odn_keras[tensorflow]' ({error})"
        ) from error
    where = data_dir or "TFDS's data folder"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        if "/" in name:
            raise InputError(f"no such folder of images: {name}; nor has TensorFlow Datasets such a set") from error
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
    if None in features["image"].shape[:2] and not reading.size:
        raise InputError(f"the images of {name!r} vary in size: give --image_size")
    splits = set(builder.info.splits) or {"train", "test"}
    if "train" not in splits:
        raise InputError(f"dataset {name!r} has no train split: it has {', '.join(sorted(splits))}")
    train, _ = _tfds_part(builder, name, "train", reading=reading)
    test = None
    for split in ("test", "validation"):
        if test is None and split in splits:
            candidate, label = _tfds_part(builder, name, split, reading=reading)
            test = candidate if label >= 0 else None  # some sets hide their test labels as -1
    names = EMNIST_LETTERS if name == "emnist/letters" else features["label"].names
    parts = {"train": train, "test": test} if test else {"train": train}
    class_names = dict(enumerate(names, start=1 if name == "emnist/letters" else 0))
    info = builder.info
    source = f"{info.full_name}, {int(info.dataset_size)} bytes"
    return Source("tfds", parts, class_names, fixed=True, source=source)


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
    """True where a download may work: TFDS itself would retry for minutes and leave half a folder behind."""
    if any(name.lower() in ("http_proxy", "https_proxy") for name in os.environ):
        return True
    try:
        socket.getaddrinfo(TFDS_HOST, 443)
    except OSError:
        return False
    return True


def _tfds_part(builder, name: str, split: str, reading: Reading) -> tuple[Part, int]:
    """A split, and its first label."""
    import tensorflow as tf

    transposed = name.startswith("emnist")  # TFDS stores them so, as the original files do
    size = reading.size[::-1] if reading.size and transposed else reading.size

    def read(example):
        image = example["image"]
        if size:
            image = _resized(image, size, reading.resize)
        if reading.grayscale and image.shape[-1] == 3:
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
    return Part(info.num_examples if info else 0, image.shape[1:], lambda rows: numbered(chunks(rows))), int(label[0])


def _resized(image, size: tuple[int, int], resize: str):
    """Resizes a uint8 tensor of shape (height, width, channels) as `read_image` resizes an image file."""
    import tensorflow as tf

    def scaled(shape) -> np.ndarray:
        return np.array(scaled_size(tuple(shape), size, resize), np.int32)

    inner = tf.ensure_shape(tf.numpy_function(scaled, [tf.shape(image)[:2]], tf.int32), (2,))
    image = tf.cast(tf.round(tf.image.resize(image, inner, antialias=True)), tf.uint8)
    above, left = ((size[axis] - inner[axis]) // 2 for axis in (0, 1))  # below zero where it is cut
    image = image[tf.maximum(-above, 0) :, tf.maximum(-left, 0) :][: size[0], : size[1]]
    return tf.image.pad_to_bounding_box(image, tf.maximum(above, 0), tf.maximum(left, 0), *size)


def _damaged(builder, name: str, error: Exception) -> InputError:
    return InputError(f"dataset {name!r} in {builder.data_path} is damaged ({_reason(error)}): prepare it again")


def _reason(error: Exception) -> str:
    """The first line of the message of an exception of TensorFlow or TFDS."""
    lines = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error)).strip().splitlines()
    return lines[0].strip()[:200] if lines else type(error).__name__
