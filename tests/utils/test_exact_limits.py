import numpy as np
from scipy.stats import binomtest

from odn_keras.utils.exact_limits import is_at_least, least_images, limits


def test_limits_are_those_of_clopper_and_pearson():
    seen, of = np.array([0, 3, 50, 10]), np.array([10, 10, 60, 10])
    expected = [binomtest(int(s), int(n)).proportion_ci(method="exact") for s, n in zip(seen, of, strict=True)]
    np.testing.assert_allclose(np.transpose(limits(seen, of)), [[ci.low, ci.high] for ci in expected], atol=1e-9)
    assert [float(limit) for limit in limits(0, 0)] == [0, 1]


def test_a_promise_is_shown_where_the_one_sided_limit_reaches_it():
    low = binomtest(195, 200, alternative="greater").proportion_ci(0.95, "exact").low
    assert is_at_least(low - 1e-6, 195, 200) and not is_at_least(low + 1e-6, 195, 200)
    for misses in (0, 2, 7):
        least = least_images(0.95, misses)
        assert is_at_least(0.95, least - misses, least) and not is_at_least(0.95, least - 1 - misses, least - 1)
