"""Datasets of `.npz` files."""

import pathlib
import sys

import numpy as np

from odn_keras import npz
from odn_keras.errors import InputError
from odn_keras.fingerprint import key_of
from odn_keras.source import Part, Source

MAX_CLASS_NAME = 200


def open_npz(path: pathlib.Path) -> Source:
    arrays = npz.find_arrays(path, ("x_train", "y_train", "x_test", "y_test"), ("class_names",))
    train, test = (_npz_part(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test"))
    if train.shape != test.shape:
        raise InputError(f"{path}: x_train and x_test differ in shape, {train.shape} and {test.shape}")
    if "class_names" not in arrays:
        return Source("npz", {"train": train, "test": test})
    names = _npz_class_names(arrays["class_names"])
    labels = np.unique(np.concatenate([arrays["y_train"].read().ravel(), arrays["y_test"].read().ravel()]))
    if odd := set(labels.tolist()) ^ set(range(len(names))):
        raise InputError(
            f"{path} has {len(names)} class_names, so its labels must be 0 to {len(names) - 1} and all occur: "
            f"{min(odd)} has no {'images' if min(odd) in range(len(names)) else 'name'}"
        )
    return Source("npz", {"train": train, "test": test}, dict(enumerate(names)))


def _npz_part(images: npz.StoredArray, labels: npz.StoredArray) -> Part:
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
            pixels = np.ascontiguousarray(some.reshape(-1, *shape))
            yield pixels, their_labels.ravel(), np.array([key_of(image.data) for image in pixels], np.uint64)

    return Part(count, shape, chunks)


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
