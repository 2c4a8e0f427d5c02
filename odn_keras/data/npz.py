"""Datasets of `.npz` files: images and labels of other types become uint8 and integers where that is unambiguous."""

import math
import pathlib
import sys
from collections.abc import Callable

import numpy as np

from odn_keras.data import stored_array
from odn_keras.data.fingerprint import key_of
from odn_keras.data.source import CHUNK_BYTES, Part, Source
from odn_keras.data.stored_array import StoredArray
from odn_keras.errors import InputError

MAX_CLASS_NAME = 200
FAINTEST_WHITE = 32  # the highest value of floats from 0 to 255 is at least this
MOST_APART = 16  # how many times brighter one array may be than another of its kind of numbers
Conversion = Callable[[np.ndarray], np.ndarray]
VALIDATION_SUFFIXES = ("validation", "val", "valid")


def open_npz(path: pathlib.Path) -> Source:
    """Opens a file: reads the labels, and checks the arrays of images without keeping them.

    Raises:
        InputError: where the file cannot be used.
    """
    held = stored_array.list_arrays(path)
    wanted = {"train": "train", "test": "test"}
    if validation := next((suffix for suffix in VALIDATION_SUFFIXES if f"x_{suffix}" in held), None):
        wanted["validation"] = validation
    required = tuple(f"{xy}_{suffix}" for suffix in wanted.values() for xy in "xy")
    arrays = stored_array.find_arrays(path, required, ("class_names",))
    notes = []
    if unused := [key for key in held if key not in arrays]:
        notes.append(f"{path}: not used: {', '.join(unused[:5])}{' and more' if len(unused) > 5 else ''}")
    images = {split: arrays[f"x_{suffix}"] for split, suffix in wanted.items()}
    labels = {split: _integers(arrays[f"y_{suffix}"], images[split], notes) for split, suffix in wanted.items()}
    shapes = {split: _image_shape(stored) for split, stored in images.items()}
    for split, shape in shapes.items():
        if shape != shapes["train"]:
            raise InputError(f"{path}: x_train and {images[split].key} differ in shape, {shapes['train']} and {shape}")
    if shapes["train"][2] not in (1, 3):
        notes.append(f"{path}: images of {shapes['train'][2]} channels, of shape {shapes['train']}")
    convert = _conversions(list(images.values()), notes)
    parts = {
        split: _part(images[split], labels[split], shapes[split], convert=convert[images[split].key])
        for split in images
    }
    names = _class_names(arrays["class_names"], labels) if "class_names" in arrays else None
    return Source("npz", parts, names, notes=notes)


def _image_shape(images: StoredArray) -> tuple[int, int, int]:
    shape = images.shape[1:]
    if len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"{images.key} in {images.path} must be uint8 of shape (n, height, width[, channels]), "
            f"got {images.dtype} of shape {images.shape}"
        )
    height, width, channels = shape if len(shape) == 3 else (*shape, 1)
    if channels not in (1, 3) and (height in (1, 3) or height <= 4 < channels):
        raise InputError(
            f"{images.key} in {images.path} of shape {images.shape} seems to have its channels first: "
            f"store {images.key}.transpose(0, 2, 3, 1)"
        )
    return height, width, channels


def _part(images: StoredArray, labels: np.ndarray, shape: tuple[int, int, int], convert: Conversion) -> Part:
    def chunks(rows):
        start = 0
        for some in images.chunks(max(1, rows // images.dtype.itemsize)):
            pixels = np.ascontiguousarray(convert(some.reshape(-1, *shape)))
            keys = np.array([key_of(image.data) for image in pixels], np.uint64)
            yield pixels, labels[start : start + len(pixels)], keys
            start += len(pixels)

    return Part(images.shape[0], shape, chunks)


def _integers(labels: StoredArray, images: StoredArray, notes: list[str]) -> np.ndarray:
    """Reads labels as int64 of shape (n,); adds a note for floats, booleans and one-hot rows."""
    where = f"{labels.key} in {labels.path}"
    count = images.shape[0]
    one_hot = len(labels.shape) == 2 and labels.shape[1] > 1
    if labels.shape[0] != count or not (len(labels.shape) == 1 or labels.shape[1:] == (1,) or one_hot):
        raise InputError(
            f"{images.key} in {images.path} has {count} images, so {labels.key} must be of shape ({count},), "
            f"got {labels.shape}"
        )
    if labels.dtype.kind in "US":
        raise InputError(
            f"labels must be integers: {where} is text; "
            f"store names, numbers = np.unique({labels.key}, return_inverse=True) as class_names and {labels.key}"
        )
    if labels.dtype.kind not in "iufb":
        raise InputError(f"labels must be integers: {where} has type {labels.dtype}")
    values = labels.read()
    if one_hot:
        if not np.isin(values, (0, 1)).all() or (values.sum(axis=1) != 1).any():
            raise InputError(
                f"labels must be integers of shape ({count},), or one-hot: the rows of {where}, of shape "
                f"{labels.shape}, are not"
            )
        notes.append(f"{where}: one-hot rows of {labels.shape[1]}, read as numbers")
        return values.argmax(axis=1).astype(np.int64)
    values = values.ravel()
    if labels.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2**53)
        if not whole.all():
            raise InputError(f"labels must be integers: {where} has type {labels.dtype} and {values[~whole][0]}")
    if labels.dtype.kind in "fb":
        notes.append(f"{where}: {labels.dtype}, read as integers")
    elif values.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"labels must be less than 2**63: {where} has {values.max()}")
    return values.astype(np.int64)


def _conversions(arrays: list[StoredArray], notes: list[str]) -> dict[str, Conversion]:
    """The function that makes pixels uint8, for each array: the same for all arrays of a kind of numbers."""
    kinds: dict[str, list[StoredArray]] = {}
    for stored in arrays:
        kinds.setdefault("uint8" if stored.dtype == np.uint8 else stored.dtype.kind, []).append(stored)
    found = {}
    for alike in kinds.values():
        convert, said = _conversion(alike)
        if said:
            keys, types = ", ".join(s.key for s in alike), "/".join(sorted({str(s.dtype) for s in alike}))
            notes.append(f"{keys} in {alike[0].path}: {types} {said}")
        found.update({stored.key: convert for stored in alike})
    return found


def _conversion(arrays: list[StoredArray]) -> tuple[Conversion, str]:
    first = arrays[0]
    if first.dtype == np.uint8:
        return (lambda pixels: pixels), ""
    if first.dtype.kind == "b":
        return (lambda pixels: pixels * np.uint8(255)), "read as 0 and 255"
    if first.dtype.kind not in "iuf":
        raise InputError(f"{first.key} in {first.path} must be uint8, got {first.dtype}")
    ranges = [_range(stored) for stored in arrays if stored.shape[0]] or [(0.0, 0.0)]
    tops = [top for _, top in ranges]
    least, most = float(np.min([low for low, _ in ranges])), float(np.max(tops))  # NaN stays
    said = f"from {least:g} to {most:g}"
    wrong = f"{first.key} in {first.path} must be uint8, or numbers from 0 to 255: it is {first.dtype} {said}"
    if not (least >= 0 and most <= 65535):  # neither is NaN
        undo = (
            "np.rint((x + 1) * 127.5).astype(np.uint8)" if -1 <= least < 0 and most <= 1 else "the pixels as they were"
        )
        raise InputError(f"{wrong}; store {undo}")
    if most > MOST_APART * min(tops):
        goes = ", ".join(f"{s.key} to {top:g}" for s, top in zip((s for s in arrays if s.shape[0]), tops, strict=True))
        raise InputError(f"{wrong}, but {goes}: they are not scaled alike")
    if first.dtype.kind == "f":
        if most <= 1:
            return (lambda pixels: np.rint(pixels * np.float32(255)).astype(np.uint8)), f"{said} read as 0 to 255"
        if FAINTEST_WHITE <= most <= 255:
            return (lambda pixels: np.rint(pixels).astype(np.uint8)), f"{said} rounded to whole numbers"
        raise InputError(f"{wrong}; the value of white is unknown: scale them so that it is 255")
    if most == 1:
        raise InputError(f"{wrong}; if 1 is white, store them times 255 as uint8")
    if most <= 255:
        return (lambda pixels: pixels.astype(np.uint8)), f"{said} read as they are"
    if most < 2**15:
        raise InputError(f"{wrong}; the number of bits of a pixel is unknown: scale them")
    return (lambda pixels: (pixels >> 8).astype(np.uint8)), f"{said} read as 16 bits a pixel"


def _range(stored: StoredArray) -> tuple[float, float]:
    """The least and the highest number of an array that is not empty; NaN where it has one."""
    least, most = math.inf, -math.inf
    rows = max(1, CHUNK_BYTES // (math.prod(stored.shape[1:]) * stored.dtype.itemsize))
    for some in stored.chunks(rows):
        least, most = np.minimum(least, some.min()), np.maximum(most, some.max())
    return float(least), float(most)


def _class_names(stored: StoredArray, labels: dict[str, np.ndarray]) -> dict[int, str]:
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
    if odd := set(np.unique(np.concatenate(list(labels.values()))).tolist()) ^ set(range(len(names))):
        raise InputError(
            f"{stored.path} has {len(names)} class_names, so its labels must be 0 to {len(names) - 1} and all occur: "
            f"{min(odd)} has no {'images' if min(odd) in range(len(names)) else 'name'}"
        )
    return dict(enumerate(names))
