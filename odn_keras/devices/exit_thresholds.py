"""Dynamic routing: an image leaves a network at the first exit whose largest probability reaches its threshold.

Calibration sets the thresholds so that the mean multiply-accumulates (MACs) are least while a promised accuracy is
kept. Early exits by confidence are as in
BranchyNet (arXiv 1709.01686). NumPy only.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from odn_keras.devices.paired_test import drops_at_most, least_images
from odn_keras.errors import InputError

NEVER = 2.0  # a threshold that no probability reaches
MOST_ROUNDS = 10
PROPOSING, CHECKING = slice(0, None, 2), slice(1, None, 2)  # which of the images to calibrate on do what
PRICES = (*np.geomspace(1e4, 0.1, 60), 0.0)  # of all accuracy, in MACs of the whole network


@dataclass(frozen=True)
class Routing:
    """Thresholds, and what routing with them does on the images of the calibration.

    Attributes:
        thresholds: for each exit but the end the least confidence with which an image leaves there; `NEVER` for none.
        macs_per_exit: multiply-accumulates of one image up to each exit, the end included.
        shares: fraction of the images that leave at each exit, the end included.
        accuracy: of the routed answers.
        end_accuracy: of the end, had it answered all.
        images_needed: where nothing leaves early, about how many images to calibrate on it takes for the promise, as
            often as answers differed; `None` where something leaves, or no number of images would do.
    """

    thresholds: tuple[float, ...]
    macs_per_exit: tuple[int, ...]
    shares: tuple[float, ...]
    accuracy: float
    end_accuracy: float
    images_needed: int | None = None

    @property
    def mean_macs(self) -> float:
        """Multiply-accumulates of an image on average."""
        return float(np.dot(self.shares, self.macs_per_exit))

    @property
    def saved(self) -> float:
        """Fraction of the end's MACs that routing saves."""
        return 1 - self.mean_macs / self.macs_per_exit[-1]


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """The confidence of an exit: its largest probability, for probabilities of shape (..., classes)."""
    return np.max(probabilities, axis=-1)


def exits_taken(confidences: Sequence[np.ndarray], thresholds: Sequence[float]) -> np.ndarray:
    """The exit at which each image leaves, from 0; the last number is the end's.

    Args:
        confidences: of each exit but the end, shape (n,).
        thresholds: one for each of them.

    >>> exits_taken([np.array([0.9, 0.5, 0.1]), np.array([0.2, 0.8, 0.3])], [0.7, 0.6]).tolist()
    [0, 1, 2]
    """
    taken = np.full(len(confidences[0]), len(thresholds))
    for number in reversed(range(len(thresholds))):
        taken[confidences[number] >= thresholds[number]] = number
    return taken


def calibrate(
    probabilities_per_exit: Sequence[np.ndarray],
    labels: np.ndarray,
    macs_per_exit: Sequence[int],
    max_accuracy_drop: float,
    confidences: Sequence[np.ndarray] | None = None,
) -> Routing:
    """Sets the thresholds so that mean MACs are least and accuracy drops by no more than promised.

    Every second image is used to propose thresholds, the others to check them. A proposal belongs to a price of
    accuracy: one threshold after the other is set to its best value, among all values that separate two images, until
    none changes. Proposals are checked from the highest price to the lowest, until the first that may break the
    promise; the proposal before it is taken. The checking images have no part in the proposals, and checking ends at
    the first failure. So the promise is kept on other images of the same kind with 95 % confidence, for any number of
    proposals (fixed-sequence testing, as in Learn then Test, arXiv 2110.01052).

    The drop is tested on pairs, the routed answer and the end's to the same image, by an exact test (see
    `odn_keras.devices.paired_test`), so that at most 5 % of such promises are broken. Few images let nothing leave
    early: a drop of 0.005 needs 1,198 at least.

    Args:
        probabilities_per_exit: for each exit and, last, the end, shape (n, classes): of images that the network was
            not trained on.
        labels: shape (n,).
        macs_per_exit: of one image up to each exit, rising.
        max_accuracy_drop: against the end's own accuracy, as a fraction: 0.005 is half a point.
        confidences: of each exit but the end, shape (n,); by default the largest probabilities.

    Raises:
        InputError: where the arguments do not fit together or are out of range.

    >>> early, end = np.array([[0.9, 0.1], [0.4, 0.6]] * 1000), np.array([[1.0, 0.0]] * 2000)
    >>> calibrate([early[::2], end[::2]], np.zeros(1000, int), [10, 30], 0.01).thresholds
    (0.0,)
    """
    _check(probabilities_per_exit, labels, macs_per_exit, max_accuracy_drop=max_accuracy_drop)
    right = np.array([np.argmax(p, axis=-1) == labels for p in probabilities_per_exit])
    if confidences is None:
        confidences = [confidence(probabilities) for probabilities in probabilities_per_exit[:-1]]
    if [np.shape(each) for each in confidences] != [np.shape(labels)] * (len(probabilities_per_exit) - 1):
        raise InputError(f"confidences must be of shape {np.shape(labels)} for each exit but the end")
    end = len(confidences)
    thresholds, images_needed = [NEVER] * end, None
    search = _Search(right[:, PROPOSING], [c[PROPOSING] for c in confidences], np.asarray(macs_per_exit, float))
    for proposal in search.proposals():
        taken = exits_taken([c[CHECKING] for c in confidences], proposal)
        lost, gained = _changed(right[:, CHECKING], taken)
        leaves = bool(np.any(taken < end)) or not len(taken)
        if leaves and not drops_at_most(max_accuracy_drop, lost, gained, len(taken)):
            if min(thresholds) == NEVER and len(taken):
                images_needed = _to_calibrate(max_accuracy_drop, lost / len(taken), gained / len(taken))
            break
        thresholds = proposal
    taken = exits_taken(confidences, thresholds)
    return Routing(
        thresholds=tuple(float(threshold) for threshold in thresholds),
        macs_per_exit=tuple(int(macs) for macs in macs_per_exit),
        shares=tuple((np.bincount(taken, minlength=end + 1) / len(labels)).tolist()),
        accuracy=float(np.mean(right[taken, np.arange(len(labels))])),
        end_accuracy=float(np.mean(right[end])),
        images_needed=images_needed,
    )


class _Search:
    """Thresholds for which MACs and lost accuracy, at a price, cost least on these images."""

    def __init__(self, right: np.ndarray, confidences: Sequence[np.ndarray], macs: np.ndarray):
        self._right, self._confidences, self._macs = right, confidences, macs
        self._images = np.arange(right.shape[1])

    def proposals(self) -> Iterator[list[float]]:
        """From the dearest accuracy to the cheapest."""
        thresholds = [NEVER] * len(self._confidences)
        for price in PRICES:
            thresholds = self._improved(thresholds, price * self._macs[-1])
            yield thresholds

    def _improved(self, thresholds: list[float], price: float) -> list[float]:
        """Sets one threshold after the other to its best value, until none changes."""
        for _ in range(MOST_ROUNDS):
            before = thresholds
            for number in range(len(thresholds)):
                best = self._best(thresholds, number, price)
                thresholds = [*thresholds[:number], best, *thresholds[number + 1 :]]
            if thresholds == before:
                break
        return thresholds

    def _best(self, thresholds: list[float], number: int, price: float) -> float:
        """The cheapest threshold of an exit, all others unchanged."""
        otherwise = exits_taken(self._confidences, [*thresholds[:number], NEVER, *thresholds[number + 1 :]])
        reaching = self._images[otherwise > number]
        order = reaching[np.argsort(-self._confidences[number][reaching], kind="stable")]
        confidences = self._confidences[number][order]
        change = self._cost(np.full_like(otherwise, number), price)[order] - self._cost(otherwise, price)[order]
        of_surest = np.concatenate([[0.0], np.cumsum(change)])  # of none that leaves here, of one, of two ...
        divides = np.concatenate([[True], confidences[:-1] > confidences[1:], [True]])[: len(order) + 1]
        count = int(np.argmin(np.where(divides, of_surest, np.inf)))
        if count == 0:
            return NEVER
        return 0.0 if count == len(order) else float(confidences[count - 1])

    def _cost(self, taken: np.ndarray, price: float) -> np.ndarray:
        return self._macs[taken] - price * self._right[taken, self._images]


def _to_calibrate(max_accuracy_drop: float, lost: float, gained: float) -> int | None:
    """About how many images the calibration needs, of which half check the promise; `None` where none would do."""
    images = least_images(max_accuracy_drop, lost, gained)
    return None if images is None else 2 * images


def _changed(right: np.ndarray, taken: np.ndarray) -> tuple[int, int]:
    """The numbers of answers that are right at the end only, and as routed only."""
    routed, end = right[taken, np.arange(len(taken))], right[-1]
    return int(np.sum(end & ~routed)), int(np.sum(routed & ~end))


def _check(probabilities_per_exit, labels, macs_per_exit, max_accuracy_drop) -> None:
    shapes = [np.shape(probabilities) for probabilities in probabilities_per_exit]
    if len(shapes) < 2:
        raise InputError(f"routing needs an exit and the end, got {len(shapes)} outputs: train with --exits=all")
    if len(set(shapes)) != 1 or len(shapes[0]) != 2:
        raise InputError(f"all exits must give probabilities of one shape (n, classes), got {shapes}")
    if np.shape(labels) != shapes[0][:1] or not len(labels):
        raise InputError(f"labels must be of shape ({shapes[0][0]},) and not empty, got {np.shape(labels)}")
    if not all(np.isfinite(probabilities).all() for probabilities in probabilities_per_exit):
        raise InputError("probabilities must be finite, got NaN or infinite ones")
    if len(macs_per_exit) != len(shapes) or any(np.diff([0, *macs_per_exit]) <= 0):
        raise InputError(f"macs_per_exit must be {len(shapes)} rising numbers above 0, got {list(macs_per_exit)}")
    if not (0 <= max_accuracy_drop <= 1 and math.isfinite(max_accuracy_drop)):
        raise InputError(f"max_accuracy_drop must be a fraction from 0 to 1, got {max_accuracy_drop}")
