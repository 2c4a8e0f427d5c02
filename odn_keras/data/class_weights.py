"""Weights of classes in the training loss, for classes of unequal numbers of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from odn_keras.errors import InputError

if TYPE_CHECKING:  # options are checked before NumPy is imported
    import numpy as np

NONE, BALANCED = "none", "balanced"


def check_class_weight(text: str) -> None:
    """Raises `InputError` for text that is neither `"none"`, `"balanced"` nor a list of weights."""
    if text not in (NONE, BALANCED):
        _listed(text)


def class_weights(text: str, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray | None:
    """The weight of each class.

    Args:
        text: `"none"`; `"balanced"`, by which all classes count alike and the mean weight of an image is 1; or weights
            by name, as `"cat:3,dog:0.5"`, 1 for the others.
        labels: of the training images, shape (n,).
        class_names: in the order of the labels.

    Returns:
        float32 of shape (classes,); `None` for `"none"`.

    Raises:
        InputError: for other text, and names that are no class.

    >>> import numpy as np
    >>> class_weights("balanced", np.array([0, 0, 0, 1]), ["cat", "dog"]).round(2)
    array([0.67, 2.  ], dtype=float32)
    """
    import numpy as np

    if text == NONE:
        return None
    if text == BALANCED:
        counts = np.bincount(labels, minlength=len(class_names))
        there = int(np.count_nonzero(counts))
        return np.where(counts > 0, len(labels) / (there * np.maximum(counts, 1)), 1.0).astype(np.float32)
    weights = dict.fromkeys(class_names, 1.0)
    for name, weight in _listed(text).items():
        if name not in weights:
            known = ", ".join(map(repr, class_names[:10])) + (" ..." if len(class_names) > 10 else "")
            raise InputError(f"class_weight names {name!r}, which is no class; there are {known}")
        weights[name] = weight
    return np.array(list(weights.values()), np.float32)


def _listed(text: str) -> dict[str, float]:
    """The weights that are given by name."""
    weights = {}
    for item in text.split(","):
        name, separator, number = item.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not (separator and name and 0 < weight < math.inf):
            raise InputError(
                f"class_weight must be {NONE}, {BALANCED} or weights above 0 by names of classes, as cat:3,dog:0.5, "
                f"got {text!r}"
            )
        weights[name.strip()] = weight
    return weights
