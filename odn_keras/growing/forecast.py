"""Where the accuracy of a learning-rate cycle will end, from what it was on the way."""

import math
from collections.abc import Sequence

import numpy as np

TREND = 0.75  # of the growth so far that continues to the end where most answers are still wrong
FALL = 0.15  # gained besides, for the learning rate falls
TREND_DEVIATION, FALL_DEVIATION = 0.2, 0.1  # how far these differ from one dataset to another, and from run to run
NEARLY_RIGHT = 0.9  # accuracy above which the growth has been seen to go on as if nothing slowed it
NEARLY_RIGHT_DEVIATION = 0.35  # of FALL there: of few errors the falling rate takes more away
WINDOW = 0.5  # points from this part of the present progress on say how fast the accuracy grows
MIN_POINTS = 3
MIN_SPAN = 1.5  # by what factor the progress must have grown between the first and the last of these points
SMALLEST = 1e-3  # odds of right to wrong, and of wrong to right, below which none are told apart


def forecast(points: Sequence[tuple[float, float]], deviations: float = 0.0) -> float | None:
    """The accuracy at the end of a cycle.

    The odds of being right grow like a power of the training done, the slower the fewer answers are still wrong. With
    progress p and accuracy a they rise by

        logit(end) = logit(a) + ln(1 / p) * (TREND * b * sqrt(1 - a) + FALL),   b = d logit(a) / d ln(p)

    where b is fitted by least squares to the points of the second half of what is done. Above an accuracy of
    NEARLY_RIGHT the factor sqrt(1 - a) is doubted as well: with many training images odds may grow as b says.

    Args:
        points: (progress, accuracy) in the order of progress, which is the part of the cycle that is done, in (0, 1].
        deviations: how many of their deviations TREND and FALL are taken to be above what is expected; where nearly all
            answers are right, 1 or more also leaves the factor sqrt(1 - a) out, and FALL is doubted more.

    Returns:
        An accuracy; `None` where too few points tell how fast it grows.

    >>> round(forecast([(0.2, 0.70), (0.3, 0.75), (0.4, 0.78)]), 3)
    0.832
    >>> round(forecast([(0.2, 0.70), (0.3, 0.75), (0.4, 0.78)], deviations=1), 3)
    0.851
    """
    if not points:
        return None
    progress, accuracy = points[-1]
    if progress >= 1:
        return accuracy
    growth = trend(points)
    if growth is None:
        return None
    rate = TREND * growth + FALL
    if accuracy <= NEARLY_RIGHT:
        rate += deviations * (TREND_DEVIATION * growth + FALL_DEVIATION)
    else:
        undamped = growth / math.sqrt(max(1 - accuracy, SMALLEST))
        rate += min(1.0, deviations) * TREND * (undamped - growth) + deviations * NEARLY_RIGHT_DEVIATION
    return accuracy_at(logit(accuracy) + rate * math.log(1 / progress))


def trend(points: Sequence[tuple[float, float]]) -> float | None:
    """The term b * sqrt(1 - a) of a `forecast`, at least 0; `None` where too few points tell it."""
    progress, accuracy = points[-1]
    recent = [point for point in points if point[0] >= WINDOW * progress - 1e-9]
    if len(recent) < MIN_POINTS or progress < MIN_SPAN * recent[0][0] - 1e-9:
        return None
    times = np.log([point[0] for point in recent])
    slope = float(np.polyfit(times, [logit(point[1]) for point in recent], 1)[0])
    return max(0.0, slope) * math.sqrt(max(0.0, 1 - accuracy))


def logit(accuracy: float) -> float:
    """The logarithm of the odds of right to wrong, finite for accuracies of 0 and 1 too."""
    return math.log(max(accuracy, SMALLEST) / max(1 - accuracy, SMALLEST))


def accuracy_at(odds: float) -> float:
    """The accuracy whose `logit` is `odds`."""
    return 1 / (1 + math.exp(-odds))
