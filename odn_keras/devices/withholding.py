"""Answers that are withheld, because their confidence is below a threshold that keeps a promise."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.errors import InputError
from odn_keras.utils.exact_limits import is_at_least, least_images, limits

STEPS = 256  # of a confidence: those of every int8 softmax in TFLite
MISSES = 30  # that the first threshold tested may have, where a quarter of the images is enough for that


@dataclass(frozen=True)
class Withholding:
    """The confidence below which an answer is withheld.

    Attributes:
        least_confidence: an answer needs at least this probability, a multiple of 1/256.
        promised_accuracy: of the answers that are given, with a confidence of 95 %.
        images: validation images that it was set on.
        withheld: of them, those whose answer is withheld.
    """

    least_confidence: float
    promised_accuracy: float
    images: int
    withheld: int


def check_promise(promised: float) -> None:
    """Raises `InputError` for a promise that is no fraction between 0 and 1, such as 98 for 98 %."""
    if not 0 < promised < 1:
        hint = f": as a fraction, {promised:g} % is {promised / 100:g}" if 1 < promised < 100 else ""
        raise InputError(f"reject must be an accuracy above 0 and below 1, got {promised:g}{hint}")


def withholding(outputs: np.ndarray, labels: np.ndarray, promised: float) -> Withholding:
    """The lowest confidence such that the answers with at least that much are right as often as promised.

    Thresholds are tested from high to low, in steps of 1/256, until the first whose answers do not show the promised
    accuracy by the exact one-sided 95 % limit of a binomial share; the one before it is taken (fixed-sequence testing,
    as in Learn then Test, arXiv 2110.01052). The first that is tested is the highest with a number of answers that the
    promise and the number of images decide. So of all thresholds set in this way on images of the same kind at most
    5 % give less than the promise, provided that surer answers are not less often right.

    Args:
        outputs: probabilities, shape (n, classes), of images that the network was not trained on.
        labels: shape (n,).
        promised: the accuracy of the answers that are given, above 0 and below 1.

    Raises:
        InputError: for a promise out of range, or one that these images do not show at any confidence.

    >>> sure, unsure = np.array([[0.9, 0.1]] * 500), np.array([[0.6, 0.4]] * 500)
    >>> labels = np.array([0] * 500 + [0, 1] * 250)
    >>> found = withholding(np.concatenate([sure, unsure]), labels, 0.98)
    >>> 0.6 < found.least_confidence <= 0.9, found.withheld
    (True, 500)
    """
    check_promise(promised)
    confidences, right = outputs.max(axis=-1), outputs.argmax(axis=-1) == labels
    first = _first_count(promised, len(labels))
    best = None
    for step in range(STEPS, -1, -1):
        given = confidences >= step / STEPS
        count = int(given.sum())
        if count < first:
            continue
        if not is_at_least(promised, int(right[given].sum()), count):
            break
        best = step / STEPS, len(labels) - count
    if best is None:
        raise InputError(_not_kept(promised, len(labels), first))
    return Withholding(best[0], promised, len(labels), best[1])


def _first_count(promised: float, images: int) -> int:
    """How many answers the first threshold tested has: enough for some misses, of not too many of the images."""
    return max(least_images(promised), min(images // 4, least_images(promised, MISSES)))


def _not_kept(promised: float, images: int, first: int) -> str:
    if images < first:
        return (
            f"an accuracy of {promised:g} of the answers given takes at least {first:,} validation images to promise, "
            f"there are {images:,}: give more, or a lower reject"
        )
    return (
        f"an accuracy of {promised:g} of the answers given cannot be promised: not even the surest {first:,} of "
        f"{images:,} validation images show it; give a lower reject"
    )


@dataclass(frozen=True)
class Withheld:
    """What a threshold does to answers.

    Attributes:
        images: how many there are.
        withheld: whose answer is withheld.
        right: answers that are given and right; 0 where no answer can be right.
    """

    images: int
    withheld: int
    right: int = 0

    @classmethod
    def of(cls, outputs: np.ndarray, least_confidence: float, labels: np.ndarray | None = None) -> "Withheld":
        """Counts; without labels the images are of no class."""
        given = outputs.max(axis=-1) >= least_confidence
        right = 0 if labels is None else int(np.sum(given & (outputs.argmax(axis=-1) == labels)))
        return cls(len(outputs), int(np.sum(~given)), right)

    @property
    def given(self) -> int:
        """How many answers are given."""
        return self.images - self.withheld

    def describe_withheld(self) -> str:
        """The share of withheld answers, with its exact 95 % limits."""
        return f"{self.withheld:,} of {self.images:,} images withheld, {_share(self.withheld, self.images)}"

    def describe_given(self) -> str:
        """The accuracy of the answers given, with its exact 95 % limits."""
        if not self.given:
            return "no answer given"
        return f"{self.right:,} of {self.given:,} answers given are right, {_share(self.right, self.given)}"


def describe(reject: dict[str, Any] | None) -> list[str]:
    """What is withheld and promised, for people; a sentence an item.

    Args:
        reject: `least_confidence`, `promised_accuracy`, and of test images and perhaps those of no class what
            `Withheld` holds, as `test` and `none_of_these`; `None` where nothing is withheld.
    """
    if reject is None:
        return []
    lines = [
        f"answers of a confidence below {reject['least_confidence']:.4f} are withheld; promised: "
        f"{100 * reject['promised_accuracy']:g} % of those given are right, with 95 % confidence",
    ]
    test = Withheld(**reject["test"])
    lines.append(f"test images: {test.describe_withheld()}; {test.describe_given()}")
    if reject.get("none_of_these"):
        lines.append(f"images of no class: {Withheld(**reject['none_of_these']).describe_withheld()}")
    return lines


def _share(seen: int, of: int) -> str:
    low, high = limits(seen, of)
    return f"{100 * seen / of:.1f} % (exact 95 % limits: {100 * low:.1f} to {100 * high:.1f} %)"
