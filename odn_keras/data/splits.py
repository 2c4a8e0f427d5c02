"""Divides images into training, validation and test: by their keys, or by the order of data that never change."""

import math
import numbers

import numpy as np
from sklearn.model_selection import train_test_split

from odn_keras.errors import InputError

MAX_VALIDATION_IMAGES = 10_000
VALIDATION_FRACTION = 1 / 6  # of what is not test
TEST_FRACTION = 0.15
SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)


def by_key(
    keys: np.ndarray,
    labels: np.ndarray,
    missing: tuple[str, ...],
    validation_images: int | None = None,
    train_images: int | None = None,
) -> dict[str, np.ndarray]:
    """Splits images by keys that are made of their content, so that one image more moves no other.

    A key's value alone decides, but for what a class needs: the image of its highest key always trains, and a class
    of enough images has one in each split. Equal images stay together, except in a class of fewer than three
    different ones.

    Args:
        keys: evenly distributed uint64 of shape (n,), equal for equal images.
        labels: integers of shape (n,).
        missing: which of "validation" and "test" come out of these images.
        validation_images: how many are set aside; default: a sixth of what is not test, at most 10,000.
        train_images: use only so many training images; default: all.

    Returns:
        The indices of each split, in the order of the keys.

    Raises:
        InputError: for a number of images that there are not.
    """
    keys, split, tier = keys.copy(), np.zeros(len(keys), np.int8), np.ones(len(keys), np.int8)
    for label in np.unique(labels):
        mine = np.flatnonzero(labels == label)
        keys[mine] = _apart(keys[mine])
        different, place = np.unique(keys[mine], return_inverse=True)
        tests, validations = _cuts(different, "test" in missing, "validation" in missing)
        split[mine[place < tests + validations]] = VALIDATION
        split[mine[place < tests]] = TEST
        tier[mine[np.flatnonzero(place == min(tests, len(different) - 1))[0]]] = 0
        tier[mine[place == len(different) - 1]] = 2
    by_rank = np.lexsort((labels, keys))
    if "validation" in missing:
        most = MAX_VALIDATION_IMAGES if np.sum(split == VALIDATION) > MAX_VALIDATION_IMAGES else None
        if (number := validation_images if validation_images is not None else most) is not None:
            rest = by_rank[split[by_rank] != TEST]
            _check_count("validation_images", number, len(rest) - 1)
            ranked = rest[np.argsort(tier[rest], kind="stable")]
            chosen = ranked[:number]
            if validation_images is None:  # so many at most: equal images need not be separated
                chosen = chosen[keys[chosen] != keys[ranked[number]]]
            split[rest], split[chosen] = TRAIN, VALIDATION
    found = {name: by_rank[split[by_rank] == code] for code, name in enumerate(SPLITS)}
    if train_images is not None:
        train = found["train"]
        _check_count("train_images", train_images, len(train))
        highest_first = train[::-1]
        _, first = np.unique(labels[highest_first], return_index=True)
        spare = np.ones(len(train), np.int8)
        spare[first] = 0
        kept = highest_first[np.argsort(spare, kind="stable")][:train_images]
        found["train"] = train[np.isin(train, kept)]
    return {name: indices for name, indices in found.items() if name == "train" or name in missing}


def by_position(
    labels: np.ndarray,
    missing: tuple[str, ...],
    validation_images: int | None = None,
    train_images: int | None = None,
) -> dict[str, np.ndarray]:
    """Splits images that always come in the same order, class by class: see `by_key`."""
    found = {"train": np.arange(len(labels))}
    if "test" in missing:
        if len(labels) < 2:
            raise InputError(f"{len(labels)} image is not enough for a train and a test split")
        found["train"], found["test"] = _drawn(labels, found["train"], max(1, round(TEST_FRACTION * len(labels))))
    if "validation" in missing:
        count = len(found["train"])
        if validation_images is None:
            validation_images = min(MAX_VALIDATION_IMAGES, math.ceil(VALIDATION_FRACTION * count))
        _check_count("validation_images", validation_images, count - 1)
        found["train"], found["validation"] = _drawn(labels, found["train"], validation_images)
    if train_images is not None:
        _check_count("train_images", train_images, len(found["train"]))
        if train_images < len(found["train"]):
            _, found["train"] = _drawn(labels, found["train"], train_images)
    return found


def _apart(keys: np.ndarray) -> np.ndarray:
    """Keys of a class; where fewer than three are different, copies get keys of their own."""
    different, place = np.unique(keys, return_inverse=True)
    if len(different) >= len(SPLITS) or len(different) == len(keys):
        return keys
    apart = keys.copy()
    for index in range(len(different)):
        copies = np.flatnonzero(place == index)
        rng = np.random.Generator(np.random.PCG64(int(different[index])))
        apart[copies[1:]] = rng.integers(0, 2**64, len(copies) - 1, np.uint64)
    return apart


def _cuts(different: np.ndarray, test: bool, validation: bool) -> tuple[int, int]:
    """The numbers of test and validation images among a class's sorted keys; test images have the lowest."""
    share = different / 2.0**64
    tested = TEST_FRACTION if test else 0.0
    tests = int(np.searchsorted(share, tested))
    validated = tested + (1 - tested) * VALIDATION_FRACTION if validation else tested
    validations = int(np.searchsorted(share, validated)) - tests
    if len(different) > test + validation:
        tests = min(max(tests, int(test)), len(different) - 1 - validation)
        validations = max(validations, int(validation))
    tests = min(tests, len(different) - 1)
    return tests, min(validations, len(different) - 1 - tests)


def _check_count(name: str, count: int, most: int) -> None:
    if not isinstance(count, numbers.Integral) or isinstance(count, bool) or not 0 < count <= most:
        raise InputError(f"{name} must be from 1 to {most}, got {count}")


def _drawn(labels: np.ndarray, among: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Takes `held_out` images away, in equal shares of every class where that is possible."""
    labels = labels[among]
    fewest = np.bincount(labels)[np.unique(labels)].min()
    classes = len(np.unique(labels))
    stratify = labels if fewest >= 2 and held_out >= classes and len(labels) - held_out >= classes else None
    kept, taken = train_test_split(np.arange(len(labels)), test_size=held_out, random_state=0, stratify=stratify)
    return among[kept], among[taken]
