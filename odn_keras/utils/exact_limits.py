"""Exact limits of a probability, from how often something was seen: those of Clopper and Pearson."""

import numpy as np
from scipy.stats import beta, binom

ERROR = 0.05  # how often a promise or a limit may be wrong


def limits(seen: int | np.ndarray, of: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two-sided 95 % limits of a probability; 0 and 1 without images.

    Args:
        seen: how often it was, of any shape.
        of: in so many, of the same shape.

    >>> low, high = limits(8, 10)
    >>> round(float(low), 3), round(float(high), 3)
    (0.444, 0.975)
    """
    seen, of = np.asarray(seen), np.asarray(of)
    low = np.where(seen > 0, beta.ppf(ERROR / 2, np.maximum(seen, 1), of - seen + 1), 0.0)
    high = np.where(seen < of, beta.ppf(1 - ERROR / 2, seen + 1, np.maximum(of - seen, 1)), 1.0)
    return low, high


def is_at_least(probability: float, seen: int, of: int) -> bool:
    """Whether something has at least that probability, with 95 % confidence (one-sided).

    >>> is_at_least(0.98, 149, 149), is_at_least(0.98, 148, 148)
    (True, False)
    """
    return bool(binom.sf(seen - 1, of, probability) <= ERROR)


def least_images(probability: float, misses: int = 0) -> int:
    """The smallest number of images in which so many misses still show at least that probability.

    >>> least_images(0.98), least_images(0.98, misses=1)
    (149, 236)
    """
    high = 1
    while not is_at_least(probability, high - misses, high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_at_least(probability, middle - misses, middle) else (middle, high)
    return high
