"""An exact test that a rule for answers loses no more than so much accuracy against another one on the same images.

Of every image either the other rule alone is right (an answer is lost), or the tested one alone (gained), or both are
right or wrong alike. How often answers are gained is unknown and matters, so the test is right for the worst rate: the
unconditional exact test, ordered by the approximate upper limit of the drop. NumPy and SciPy only.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import binom

from odn_keras.utils.exact_limits import ERROR

Z = 1.645  # standard deviations of a one-sided 95 % limit, by which results are ordered
RATES = 60  # of gained answers, that are tried
TAIL = 10.0  # standard deviations beyond which a number of differing answers is neglected
EXACT_SEARCH = 100_000  # images up to which `least_images` searches for the exact number


def drops_at_most(drop: float, lost: int, gained: int, images: int) -> bool:
    """Whether accuracy drops by at most that much, with 95 % confidence.

    Args:
        drop: as a fraction, 0 to 1.
        lost: number of answers that are right by the other rule only.
        gained: number of answers that are right by the tested rule only.
        images: number of images.

    >>> drops_at_most(0.01, lost=0, gained=0, images=330), drops_at_most(0.01, lost=0, gained=0, images=290)
    (True, False)
    """
    return images > 0 and (drop >= 1 or p_value(drop, lost, gained, images) <= ERROR)


def p_value(drop: float, lost: float, gained: float, images: int) -> float:
    """The probability, at most, of a result as good as this one or better where accuracy drops by `drop` or more.

    Results are the better the lower `lost - gained + Z * sqrt(lost + gained + Z**2)`, the approximate upper limit of
    the drop times the number of images. That falls with every answer less that is lost and every one more that is
    gained, so of all drops from `drop` on `drop` itself is the worst case. Of the rates at which answers are gained the
    worst is searched for numerically.

    Args:
        drop: as a fraction, 0 to 1.
        lost: as in `drops_at_most`; numbers between whole ones are taken as they are.
        gained: likewise.
        images: number of images.
    """
    observed = _order(lost, gained)

    def probability(gain: float) -> float:
        differing = gain + (gain + drop)
        if differing <= 0:
            return float(observed + 1e-9 >= Z**2)
        spread = TAIL * math.sqrt(images * differing * (1 - min(differing, 1.0))) + 2 * TAIL
        centre = images * differing
        numbers = np.arange(max(0, int(centre - spread)), min(images, math.ceil(centre + spread)) + 1)
        most_lost = np.floor((observed + numbers - Z * np.sqrt(numbers + Z**2)) / 2 + 1e-9)
        among = binom.cdf(most_lost, numbers, (gain + drop) / differing)
        return float(np.sum(binom.pmf(numbers, images, min(differing, 1.0)) * among))

    highest = (1 - drop) / 2
    rates = np.unique([0.0, *np.geomspace(min(0.01 / images, highest / 2), highest, RATES)]) if highest else [0.0]
    found = [probability(float(rate)) for rate in rates]
    worst = int(np.argmax(found))
    between = rates[max(0, worst - 1)], rates[min(len(rates) - 1, worst + 1)]
    refined = found[worst]
    if between[0] < between[1]:
        refined = -float(minimize_scalar(lambda rate: -probability(rate), bounds=between, method="bounded").fun)
    return min(1.0, max(found[worst], refined))


def least_images(drop: float, lost: float = 0.0, gained: float = 0.0) -> int | None:
    """How many images show that accuracy drops by at most so much.

    Args:
        drop: as a fraction.
        lost: fraction of the answers that are right by the other rule only.
        gained: fraction of the answers that are right by the tested rule only. Without any lost and gained answers the
            number is the least possible.

    Returns:
        The number, above 100,000 an approximation; `None` where none would do.

    >>> least_images(0.005) > 598, least_images(0.005, lost=0.01)  # 598 is the rule of three
    (True, None)
    """
    left = drop - (lost - gained)
    if left <= 0:
        return None
    differing = (lost + gained) / left  # the approximate limit, solved for the number of images
    approximate = Z**2 * (differing + math.hypot(differing, 2)) / (2 * left)
    if not math.isfinite(approximate):
        return None
    if approximate > EXACT_SEARCH:
        return math.ceil(approximate)
    low, high = 0, math.ceil(approximate)
    while p_value(drop, high * lost, high * gained, high) > ERROR:
        low, high = high, math.ceil(1.1 * high) + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = p_value(drop, middle * lost, middle * gained, middle) <= ERROR
        low, high = (low, middle) if enough else (middle, high)
    return high


def _order(lost: float, gained: float) -> float:
    return lost - gained + Z * math.sqrt(lost + gained + Z**2)
