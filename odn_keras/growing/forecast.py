"""Where the accuracy of a learning-rate cycle will end, from what it was on the way."""

import math
from collections.abc import Sequence

import numpy as np

PACE = 0.95  # of the odds' growth
WANING = 1.65  # the power of what is left of the cycle that this growth goes with
NOISE = 0.0045  # of all answers are wrong for the weights' unrest at a high learning rate, and right once it has fallen
DOUBT = 0.3  # of what the cycle is still to bring: one deviation
SURE_FROM = 0.2  # of a cycle: with less of it done, only p of it, the doubt is SURE_FROM / p times as great
WINDOW = 0.5  # points from this part of the present progress on say how fast the accuracy grows
MIN_POINTS = 3
MIN_SPAN = 1.5  # by what factor the progress must have grown between the first and the last of these points
SMALLEST = 1e-3  # odds of right to wrong, and of wrong to right, below which none are told apart
NUMBERS = {
    "pace": PACE,
    "waning": WANING,
    "noise": NOISE,
    "doubt": DOUBT,
    "sure_from": SURE_FROM,
    "window": WINDOW,
    "min_points": MIN_POINTS,
    "min_span": MIN_SPAN,
    "smallest": SMALLEST,
}


def forecast(
    points: Sequence[tuple[float, float]],
    deviations: float = 0.0,
    images: int | None = None,
) -> float | None:
    """The accuracy at the end of a cycle.

    With accuracy a at progress p the logarithm of the odds of being right is expected to rise by

        PACE * sqrt(b) * (1 + b * (1 - a)) * (1 - p)^WANING + NOISE * sqrt(1 - p) / (1 - a)

    where b = d logit(a) / d ln(p) is fitted by least squares to the points of the second half of what is done. The
    steeper the growth, the more of it is already slackening; b (1 - a) is the growth of ln(a) itself, which is large
    as long as learning has only begun. The second term takes the errors away that only a high learning rate makes.

    Args:
        points: (progress, accuracy) in the order of progress, which is the part of the cycle that is done, in (0, 1].
        deviations: how many of its deviations the end is taken to be above what is expected: each is DOUBT of the
            expected rise, or SURE_FROM / p times that before SURE_FROM, and the sampling error of the accuracy, which
            wanes with sqrt(1 - p).
        images: that the accuracy was measured on; `None` leaves the sampling error out.

    Returns:
        An accuracy; `None` where too few points tell how fast it grows.

    >>> round(forecast([(0.2, 0.70), (0.3, 0.75), (0.4, 0.78)]), 3)
    0.838
    >>> round(forecast([(0.2, 0.70), (0.3, 0.75), (0.4, 0.78)], deviations=1, images=5000), 3)
    0.856
    """
    if not points:
        return None
    progress, accuracy = points[-1]
    if progress >= 1:
        return accuracy
    growth = slope(points)
    if growth is None:
        return None
    rise = expected_rise(growth, accuracy, progress)
    sampling = sampling_error(accuracy, progress, images) if images else 0.0
    doubt = DOUBT * max(1.0, SURE_FROM / progress) * rise
    return accuracy_at(logit(accuracy) + rise + deviations * (doubt + sampling))


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """The b of a `forecast`, at least 0; `None` where too few points tell it."""
    progress, _ = points[-1]
    recent = [point for point in points if point[0] >= WINDOW * progress - 1e-9]
    if len(recent) < MIN_POINTS or progress < MIN_SPAN * recent[0][0] - 1e-9:
        return None
    times = np.log([point[0] for point in recent])
    return max(0.0, float(np.polyfit(times, [logit(point[1]) for point in recent], 1)[0]))


def expected_rise(
    growth: float,
    accuracy: float,
    progress: float,
    *,
    pace: float = PACE,
    waning: float = WANING,
    noise: float = NOISE,
) -> float:
    """The rise of a `forecast` with that b, and with other numbers where these are given."""
    trend = math.sqrt(growth) * (1 + growth * (1 - accuracy)) * (1 - progress) ** waning
    return pace * trend + noise * math.sqrt(1 - progress) / max(1 - accuracy, SMALLEST)


def sampling_error(accuracy: float, progress: float, images: int) -> float:
    """One standard deviation of an accuracy's `logit` about the end's, which is measured on the same images."""
    return math.sqrt((1 - progress) / (images * max(accuracy * (1 - accuracy), SMALLEST)))


def logit(accuracy: float) -> float:
    """The logarithm of the odds of right to wrong, finite for accuracies of 0 and 1 too."""
    return math.log(max(accuracy, SMALLEST) / max(1 - accuracy, SMALLEST))


def accuracy_at(odds: float) -> float:
    """The accuracy whose `logit` is `odds`."""
    return 1 / (1 + math.exp(-odds))
