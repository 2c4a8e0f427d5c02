"""Where the accuracy of a learning-rate cycle will end, from what it was on the way."""

import math
from collections.abc import Sequence

import numpy as np

PACE = 0.75  # of the growth so far, on a logarithmic scale of time, that goes on to the end
WINDOW = 0.5  # points from this part of the present progress on say how fast the accuracy grows
MIN_POINTS = 3
MIN_SPAN = 1.5  # by what factor the progress must have grown between the first and the last of these points
SMALLEST = 1e-3  # odds of right to wrong, and of wrong to right, below which none are told apart


def forecast(points: Sequence[tuple[float, float]], pace: float = PACE) -> float | None:
    """The accuracy at the end of a cycle.

    The odds of being right grow like a power of the training done: with progress p they rise by

        logit(end) = logit(now) + pace * b * ln(1 / p),   b = d logit(accuracy) / d ln(p)

    where b is fitted by least squares to the points of the second half of what is done. A pace of 1 is the undiminished
    power law.

    Args:
        points: (progress, accuracy) in the order of progress, which is the part of the cycle that is done, in (0, 1].
        pace: what part of the present growth goes on.

    Returns:
        An accuracy; `None` where too few points tell how fast it grows.

    >>> round(forecast([(0.2, 0.70), (0.3, 0.75), (0.4, 0.78)]), 3)
    0.843
    """
    if not points:
        return None
    progress, accuracy = points[-1]
    if progress >= 1:
        return accuracy
    recent = [point for point in points if point[0] >= WINDOW * progress - 1e-9]
    if len(recent) < MIN_POINTS or progress < MIN_SPAN * recent[0][0]:
        return None
    times = np.log([point[0] for point in recent])
    odds = np.array([_logit(point[1]) for point in recent])
    growth = max(0.0, float(np.polyfit(times, odds, 1)[0]))
    return 1 / (1 + math.exp(-(odds[-1] + pace * growth * math.log(1 / progress))))


def _logit(accuracy: float) -> float:
    return math.log(max(accuracy, SMALLEST) / max(1 - accuracy, SMALLEST))
