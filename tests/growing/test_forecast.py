import math

import pytest

from odn_keras.growing.forecast import DOUBT, forecast


def power_law(end, exponent, progress):
    odds = end / (1 - end) * progress**exponent
    return odds / (1 + odds)


def logit(accuracy):
    return math.log(accuracy / (1 - accuracy))


def test_of_too_few_points_nothing_is_forecast():
    assert forecast([]) is None
    assert forecast([(0.1, 0.2), (0.2, 0.4)]) is None
    assert forecast([(0.50, 0.60), (0.55, 0.65), (0.60, 0.67)]) is None  # nor of what is still close together


def gain(end, exponent=0.8, **doubt):
    points = [(progress, power_law(end, exponent, progress)) for progress in (0.2, 0.3, 0.4)]
    return logit(forecast(points, **doubt)) - logit(points[-1][1])


def test_steep_growth_slackens():
    flat, steep = gain(0.8, 0.4), gain(0.8, 1.6)
    assert flat < steep < 4 * flat


def test_little_of_a_cycle_says_less_of_its_end_than_a_fifth_does():
    def doubt(*progress):
        points = [(p, power_law(0.8, 0.8, p)) for p in progress]
        expected, hoped = (logit(forecast(points, deviations)) - logit(points[-1][1]) for deviations in (0, 1))
        return hoped / expected - 1

    assert doubt(0.2, 0.3, 0.4) == pytest.approx(doubt(0.1, 0.15, 0.2)) == pytest.approx(DOUBT)
    assert doubt(0.05, 0.08, 0.1) == pytest.approx(2 * DOUBT)


def test_growth_slackens_less_where_learning_has_only_begun():
    assert gain(0.3, 1.5) > gain(0.6, 1.5) > gain(0.9, 1.5)


def test_of_few_errors_the_falling_rate_takes_a_larger_part_away():
    assert gain(0.999) > gain(0.99) > gain(0.9)


def test_doubt_is_a_part_of_the_rise_and_the_sampling_error():
    assert gain(0.9, deviations=1) == pytest.approx(1.3 * gain(0.9))
    few, many = (gain(0.9, deviations=1, images=images) for images in (500, 50_000))
    assert few - gain(0.9, deviations=1) == pytest.approx(10 * (many - gain(0.9, deviations=1)))
    assert gain(0.9, deviations=0, images=500) == gain(0.9)


# (progress, accuracy) at half of a cycle, and the end of it. One training each, ResNet-18 of width 16.
CURVES = {
    "CIFAR-10, 45,000 images, depth 3": ([0.5750, 0.5956, 0.6116, 0.6182, 0.6326, 0.6432], 0.6898),
    "Fashion-MNIST, 55,000 images, depth 2": ([0.8380, 0.8506, 0.8582, 0.8644, 0.8696, 0.8736], 0.8958),
    "Fashion-MNIST, 8,000 images, depth 1": ([0.6692, 0.6964, 0.7170, 0.7302, 0.7412, 0.7542], 0.7952),
    "EMNIST letters, all images, depth 2": ([0.8398, 0.8510, 0.8624, 0.8674, 0.8716, 0.8770], 0.8990),
    "MNIST, 50,000 images, depth 2": ([0.9724, 0.9758, 0.9780, 0.9792, 0.9802, 0.9814], 0.9880),
}


@pytest.mark.parametrize("curve", CURVES)
def test_half_of_a_cycle_tells_its_end(curve):
    accuracies, end = CURVES[curve]
    points = list(zip((0.25, 0.30, 0.35, 0.40, 0.45, 0.50), accuracies, strict=True))
    assert forecast(points) == pytest.approx(end, abs=0.01)
    assert forecast(points, deviations=1, images=5000) > end


def test_at_the_end_it_is_the_accuracy_itself():
    assert forecast([(0.8, 0.5), (0.9, 0.7), (1.0, 0.6)]) == 0.6


def test_a_setback_is_no_trend():
    falling, flat = [(0.2, 0.9), (0.3, 0.85), (0.4, 0.8)], [(0.2, 0.8), (0.3, 0.8), (0.4, 0.8)]
    assert forecast(falling) == pytest.approx(forecast(flat))


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_none_and_all_right_are_accuracies_too(accuracy):
    expected = forecast([(0.2, accuracy), (0.3, accuracy), (0.4, accuracy)])
    assert expected == pytest.approx(accuracy, abs=0.01)
