import math

import pytest

from odn_keras.growing.forecast import forecast


def power_law(end, exponent, progress):
    odds = end / (1 - end) * progress**exponent
    return odds / (1 + odds)


def test_of_too_few_points_nothing_is_forecast():
    assert forecast([]) is None
    assert forecast([(0.1, 0.2), (0.2, 0.4)]) is None
    assert forecast([(0.50, 0.60), (0.55, 0.65), (0.60, 0.67)]) is None  # nor of what is still close together


def test_an_undiminished_power_law_is_continued_to_its_end():
    points = [(progress, power_law(0.9, 0.8, progress)) for progress in (0.1, 0.2, 0.3, 0.4)]
    assert forecast(points, pace=1.0) == pytest.approx(0.9)
    assert power_law(0.9, 0.8, 0.4) < forecast(points) < 0.9


def test_at_the_end_it_is_the_accuracy_itself():
    assert forecast([(0.8, 0.5), (0.9, 0.7), (1.0, 0.6)]) == 0.6


def test_a_setback_is_no_trend():
    assert forecast([(0.2, 0.9), (0.3, 0.85), (0.4, 0.8)]) == pytest.approx(0.8)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_and_all_right_are_accuracies_too(accuracy):
    expected = forecast([(0.2, accuracy), (0.3, accuracy), (0.4, accuracy)])
    assert math.isfinite(expected) and expected == pytest.approx(accuracy, abs=0.01)
