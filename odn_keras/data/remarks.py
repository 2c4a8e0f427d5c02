"""Notes on the splits of a dataset that a user should know, one line each."""

import numpy as np

from odn_keras.data.source import Held

FEW_IMAGES = 10
NAMED = 3
LOOKED_AT = 50  # images of each split
FAINTEST = 1  # of 255
PURPOSES = {"train": "train on", "validation": "validate on", "test": "test on"}


def on_classes(held: dict[str, Held], class_names: list[str]) -> list[str]:
    """Notes on classes that have no image in one of the splits."""
    counts = {split: np.bincount(held[split].labels, minlength=len(class_names)) for split in PURPOSES}
    lacking: dict[tuple[str, ...], list[str]] = {}
    for label, name in enumerate(class_names):
        if without := tuple(split for split in PURPOSES if not counts[split][label]):
            lacking.setdefault(without, []).append(name)
    return [
        f"{_classes(names)} no image to {' or '.join(PURPOSES[split] for split in without)}"
        for without, names in lacking.items()
    ]


def on_numbers(held: dict[str, Held]) -> list[str]:
    """A note where validation or test images are so few that an accuracy means little."""
    counts = {split: len(held[split]) for split in PURPOSES}
    if min(counts["validation"], counts["test"]) >= FEW_IMAGES:
        return []
    described = ", ".join(f"{count} to {PURPOSES[split]}" for split, count in counts.items())
    fewest = min(counts["validation"], counts["test"])
    return [f"few images: {described}; an accuracy on {fewest} moves in steps of {100 / fewest:.3g} points"]


def on_pixels(held: dict[str, Held]) -> list[str]:
    """A note where all images are black, as they are if numbers from 0 to 1 were stored as bytes."""
    images = np.concatenate([held[split].images[:LOOKED_AT] for split in PURPOSES])
    if images.max() > FAINTEST:
        return []
    return [
        f"no pixel of {len(images)} images is above {FAINTEST}, where 255 is white: if {FAINTEST} is white, store them "
        "times 255"
    ]


def on_copies(held: dict[str, Held], class_names: list[str]) -> list[str]:
    """Notes on images that are in several classes, or both among the training images and in another split."""
    keys = np.concatenate([part.keys for part in held.values()])
    labels = np.concatenate([part.labels for part in held.values()])
    order = np.lexsort((labels, keys))
    keys, labels = keys[order], labels[order]
    mixed = (keys[1:] == keys[:-1]) & (labels[1:] != labels[:-1])
    notes = []
    if mixed.any():
        one, other = (class_names[label] for label in labels[np.argmax(mixed) : np.argmax(mixed) + 2])
        number = len(np.unique(keys[1:][mixed]))
        notes.append(f"{number:,} {_are('image', number)} in more than one class, as in {one!r} and {other!r}")
    for split in ("validation", "test"):
        if copies := int(np.isin(held[split].keys, held["train"].keys).sum()):
            notes.append(f"{copies:,} {_are(f'{split} image', copies)} among the training images as well")
    return notes


def _classes(names: list[str]) -> str:
    if len(names) == 1:
        return f"class {names[0]!r} has"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"classes {', '.join(map(repr, names[:NAMED]))}{more} have"


def _are(noun: str, count: int) -> str:
    return f"{noun} is" if count == 1 else f"{noun}s are"
