"""Fingerprints of datasets: whether the data of a run are still the same, and what has changed."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_CHANGES = 3  # said in one line


@dataclass(frozen=True)
class DataFingerprint:
    """A dataset in short; `dataclasses.asdict` of it is JSON.

    Attributes:
        kind: "digits", "folder", "npz" or "tfds".
        source: name, configuration and version of a TFDS set; else "".
        class_names: in the order of the labels.
        shape: (height, width, channels) of the images.
        splits: for "train", "validation" and "test", and each class in order, (number of images, digest of their
            keys). Neither names nor order of files matter, only what is in them.
    """

    kind: str
    source: str
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    splits: dict[str, tuple[tuple[int, str], ...]]


def digest(keys: np.ndarray) -> str:
    """The digest of a set of uint64 keys, in whatever order."""
    return hashlib.blake2b(np.sort(keys).astype("<u8").tobytes(), digest_size=8).hexdigest()


def key_of(content: bytes | memoryview) -> int:
    """The key of an image: 64 evenly distributed bits made of its content."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def difference(then: dict[str, Any], now: DataFingerprint) -> str | None:
    """One line that says what is different from a fingerprint of which the JSON was kept; None where nothing is."""
    try:
        return _difference(*(json.loads(json.dumps(one)) for one in (then, dataclasses.asdict(now))))
    except (AttributeError, KeyError, TypeError, ValueError):
        return "the record of the data is damaged"


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    if then["kind"] != now["kind"]:
        return f"{_KINDS[then['kind']]} then, {_KINDS[now['kind']]} now"
    if then["source"] != now["source"]:
        return f"{then['source']} then, {now['source']} now"
    before, after = then["class_names"], now["class_names"]
    if before != after:
        gone, new = ([name for name in one if name not in other] for one, other in ((before, after), (after, before)))
        if not gone and not new:
            return f"the classes are in another order: {_names(before)} then, {_names(after)} now"
        return " and ".join(
            f"class{'es' if len(names) > 1 else ''} {_names(names)} {'are' if len(names) > 1 else 'is'} {word}"
            for names, word in ((gone, "gone"), (new, "new"))
            if names
        )
    if then["shape"] != now["shape"]:
        return f"images of {_size(then['shape'])} then, of {_size(now['shape'])} now"
    counts, others = [], []
    for split, classes in now["splits"].items():
        for name, (number, content), (old_number, old_content) in zip(
            after, classes, then["splits"][split], strict=True
        ):
            if number != old_number:
                counts.append((number - old_number, name, split))
            elif content != old_content:
                others.append(f"other images of the same number in {name!r} ({split})")
    changes = [f"{_more(counts[0][0], 'image')} in {counts[0][1]!r} ({counts[0][2]})"] if counts else []
    changes += [f"{_more(more)} in {name!r} ({split})" for more, name, split in counts[1:]]
    changes += others
    if len(changes) > MAX_CHANGES:
        changes[MAX_CHANGES:] = [f"and {len(changes) - MAX_CHANGES} more such changes"]
    return ", ".join(changes) or None


_KINDS = {"digits": "the digits", "folder": "a folder", "npz": "an .npz file", "tfds": "a TFDS set"}


def _more(change: int, noun: str = "") -> str:
    nouns = f" {noun}{'s' if abs(change) > 1 else ''}" if noun else ""
    return f"{abs(change)}{nouns} {'more' if change > 0 else 'fewer'}"


def _names(names: list[str]) -> str:
    some = ", ".join(map(repr, names[:MAX_CHANGES]))
    return f"{some} and {len(names) - MAX_CHANGES} more" if len(names) > MAX_CHANGES else some


def _size(shape: list[int]) -> str:
    return "x".join(map(str, shape))


def describe(
    kind: str,
    source: str,
    class_names: list[str],
    shape: tuple[int, int, int],
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
) -> DataFingerprint:
    """The fingerprint of a dataset, of the keys and labels of each of its splits."""
    return DataFingerprint(
        kind=kind,
        source=source,
        class_names=tuple(class_names),
        shape=shape,
        splits={
            split: tuple(
                (int(np.sum(labels == label)), digest(keys[labels == label])) for label in range(len(class_names))
            )
            for split, (keys, labels) in splits.items()
        },
    )
