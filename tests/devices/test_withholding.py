import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.devices.withholding import Withheld, describe, withholding


def answers(rng, images, accuracy_at):
    """int8 probabilities of three classes whose accuracy depends on the confidence."""
    confidence = rng.integers(100, 257, images) / 256
    right = rng.random(images) < accuracy_at(confidence)
    labels, others = np.zeros(images, int), (1 - confidence) / 2
    best = np.where(right, 0, 1)
    outputs = np.stack([others] * 3, axis=-1)
    outputs[np.arange(images), best] = confidence
    return outputs, labels


CURVES = {
    "rising": lambda c: np.minimum(1, 0.5 + 0.6 * (c - 0.4)),
    "all alike": lambda c: np.full_like(c, 0.9),
    "a step": lambda c: np.where(c > 0.8, 0.99, 0.6),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(("images", "promised"), [(300, 0.9), (2000, 0.95)])
def test_at_most_one_promise_in_twenty_is_broken(curve, images, promised):
    rng, broken, times = np.random.default_rng(0), 0, 400
    levels = np.arange(100, 257) / 256
    for _ in range(times):
        try:
            found = withholding(*answers(rng, images, CURVES[curve]), promised)
        except InputError:
            continue  # nothing promised
        broken += CURVES[curve](levels[levels >= found.least_confidence]).mean() < promised
    assert broken / times <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / times)


def test_more_images_withhold_fewer_and_a_stricter_promise_more():
    rng = np.random.default_rng(1)
    outputs, labels = answers(rng, 50_000, CURVES["rising"])
    few = withholding(outputs[:1000], labels[:1000], 0.75)
    many, strict = withholding(outputs, labels, 0.75), withholding(outputs, labels, 0.8)
    assert many.least_confidence < few.least_confidence and many.least_confidence < strict.least_confidence
    assert many.withheld == np.sum(outputs.max(axis=-1) < many.least_confidence)


def test_what_is_right_anyway_withholds_nothing():
    outputs = np.tile([0.4, 0.3, 0.3], (300, 1))
    assert withholding(outputs, np.zeros(300, int), 0.98).withheld == 0


@pytest.mark.parametrize(
    ("promised", "told"),
    [
        (98, "reject must be an accuracy above 0 and below 1, got 98: as a fraction, 98 % is 0.98"),
        (0, "got 0"),
        (float("nan"), "got nan"),
        (0.999, "takes at least 2,995 validation images to promise, there are 300"),
        (0.98, "not even the surest 149 of 300 validation images show it"),
    ],
)
def test_promises_that_cannot_be_given_say_why(promised, told):
    outputs, labels = answers(np.random.default_rng(0), 300, CURVES["all alike"])
    with pytest.raises(InputError) as refused:
        withholding(outputs, labels, promised)
    assert told in str(refused.value)


def test_figures_have_exact_limits():
    outputs, labels = np.array([[0.9, 0.1]] * 8 + [[0.6, 0.4]] * 2), np.array([0] * 7 + [1] * 3)
    test, none = Withheld.of(outputs, 0.8, labels), Withheld.of(outputs, 0.8)
    assert (test.images, test.withheld, test.given, test.right) == (10, 2, 8, 7)
    reject = {"least_confidence": 0.8, "promised_accuracy": 0.5, "test": vars(test), "none_of_these": vars(none)}
    promise, of_test, of_none = describe(reject)
    assert "promised: 50 % of those given are right" in promise
    assert "2 of 10 images withheld, 20.0 % (exact 95 % limits: 2.5 to 55.6 %)" in of_test
    assert "7 of 8 answers given are right, 87.5 %" in of_test and of_none.startswith("images of no class: 2 of 10")
    assert describe(None) == [] and Withheld.of(outputs, 1.0, labels).describe_given() == "no answer given"
