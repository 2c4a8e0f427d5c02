import math

import pytest

from odn_keras.growing.forecast import forecast


def power_law(end, exponent, progress):
    odds = end / (1 - end) * progress**exponent
    return odds / (1 + odds)


def logit(accuracy):
    return math.log(accuracy / (1 - accuracy))


def test_of_too_few_points_nothing_is_forecast():
    assert forecast([]) is None
    assert forecast([(0.1, 0.2), (0.2, 0.4)]) is None
    assert forecast([(0.50, 0.60), (0.55, 0.65), (0.60, 0.67)]) is None  # nor of what is still close together


def test_a_trend_continues_the_slower_the_less_there_is_to_gain():
    def gain(end):
        points = [(progress, power_law(end, 0.8, progress)) for progress in (0.1, 0.2, 0.3, 0.4)]
        return logit(forecast(points)) - logit(points[-1][1])

    assert gain(0.99) < gain(0.9) < gain(0.5)


def test_doubt_raises_a_forecast_the_more_the_steeper_the_trend():
    def doubt(exponent):
        points = [(progress, power_law(0.9, exponent, progress)) for progress in (0.2, 0.3, 0.4)]
        return logit(forecast(points, deviations=1)) - logit(forecast(points))

    assert 0 < doubt(0) < doubt(0.5) < doubt(1)


def test_where_nearly_all_is_right_doubt_lets_the_odds_grow_as_before():
    """Points of a growing run on MNIST, at depth 2, with 50,000 images."""
    points = [(0.14, 0.9732), (0.15, 0.9752), (0.2, 0.9786), (0.25, 0.9832)]
    assert forecast(points) < 0.99
    assert forecast(points, deviations=1) > 0.993
    assert forecast(points) < forecast(points, deviations=0.5) < forecast(points, deviations=1)


def test_where_nearly_all_is_right_the_falling_rate_is_expected_to_bring_more():
    """Points of a growing run on MNIST, at depth 2, up to half of its cycle."""
    points = [(0.314, 0.9864), (0.364, 0.9878), (0.414, 0.9890), (0.464, 0.9888), (0.514, 0.9888)]
    assert forecast(points) < 0.992
    assert forecast(points, deviations=1) > 0.993


def test_at_the_end_it_is_the_accuracy_itself():
    assert forecast([(0.8, 0.5), (0.9, 0.7), (1.0, 0.6)]) == 0.6


def test_a_setback_is_no_trend():
    falling, flat = [(0.2, 0.9), (0.3, 0.85), (0.4, 0.8)], [(0.2, 0.8), (0.3, 0.8), (0.4, 0.8)]
    assert forecast(falling) == pytest.approx(forecast(flat))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_and_all_right_are_accuracies_too(accuracy):
    expected = forecast([(0.2, accuracy), (0.3, accuracy), (0.4, accuracy)])
    assert expected == pytest.approx(accuracy, abs=0.01)
