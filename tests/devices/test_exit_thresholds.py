import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odn_keras import InputError
from odn_keras.devices.exit_thresholds import NEVER, calibrate, confidence, exits_taken
from odn_keras.devices.paired_test import least_images

MACS = [10, 25, 60]


def outputs(seed, images=1500, classes=4, skills=(1.0, 1.5, 3.0)):
    """Exits that know more and more of the labels, and are the surer the easier the image is."""
    rng = np.random.default_rng(seed)
    labels, ease = rng.integers(0, classes, images), rng.exponential(3, (images, 1))
    known = np.eye(classes)[labels] * ease
    logits = [skill * known + rng.normal(0, 1, known.shape) for skill in skills]
    return [np.exp(logit) / np.exp(logit).sum(-1, keepdims=True) for logit in logits], labels


def routed(probabilities, thresholds):
    taken = exits_taken([confidence(p) for p in probabilities[:-1]], thresholds)
    return taken, np.array([probabilities[place][image].argmax() for image, place in enumerate(taken)])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.003, 0.01, 0.05, 1.0]))
def test_the_promise_holds_on_the_images_that_check_it_and_the_figures_are_those_of_the_decisions(seed, drop):
    probabilities, labels = outputs(seed)
    routing = calibrate(probabilities, labels, MACS, drop)
    taken, answers = routed(probabilities, routing.thresholds)
    end = np.mean(probabilities[-1].argmax(-1) == labels)
    checked = (probabilities[-1].argmax(-1) == labels)[1::2].mean() - (answers == labels)[1::2].mean()
    assert checked <= drop
    assert routing.accuracy == np.mean(answers == labels) and routing.end_accuracy == end
    assert routing.mean_macs == pytest.approx(np.take(MACS, taken).mean())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_a_larger_drop_never_costs_more_and_all_leave_where_accuracy_does_not_matter(seed):
    probabilities, labels = outputs(seed)
    strict, lax, careless = (calibrate(probabilities, labels, MACS, drop) for drop in (0.005, 0.03, 1.0))
    assert lax.mean_macs <= strict.mean_macs
    assert careless.shares == (1.0, 0.0, 0.0) and careless.mean_macs == MACS[0]


def test_other_images_of_the_same_kind_keep_the_promise():
    kept = 0
    for seed in range(20):
        probabilities, labels = outputs(seed, images=16000)
        first, second = ([p[part] for p in probabilities] for part in (slice(8000), slice(8000, None)))
        routing = calibrate(first, labels[:8000], MACS, 0.01)
        assert routing.saved > 0.1
        _, answers = routed(second, routing.thresholds)
        end = np.mean(second[-1].argmax(-1) == labels[8000:])
        kept += end - np.mean(answers == labels[8000:]) <= 0.01
    assert kept >= 19


def test_few_images_prove_nothing_so_none_leaves_early():
    probabilities, labels = outputs(0, images=1000, skills=(5.0, 5.0, 5.0))
    routing = calibrate(probabilities, labels, MACS, 0.005)
    assert routing.thresholds == (NEVER, NEVER)


def test_a_single_image_proves_nothing():
    probabilities, labels = outputs(0, images=1)
    assert calibrate(probabilities, labels, MACS, 1.0).thresholds == (NEVER, NEVER)


def test_threshold_0_sends_all_away_at_once_and_never_none():
    sure = [np.array([0.0, 0.5, 1.0])]
    assert exits_taken(sure, [0.0]).tolist() == [0, 0, 0]
    assert exits_taken(sure, [NEVER]).tolist() == [1, 1, 1]


def test_refuses_what_does_not_fit_together():
    probabilities, labels = outputs(0, images=50)
    for arguments, message in [
        ((probabilities[:1], labels, MACS[:1], 0.01), "needs an exit and the end"),
        (([*probabilities[:2], probabilities[2][:, :3]], labels, MACS, 0.01), "one shape"),
        ((probabilities, labels[:-1], MACS, 0.01), r"labels must be of shape \(50,\)"),
        ((probabilities, labels, MACS[::-1], 0.01), "rising"),
        ((probabilities, labels, MACS[1:], 0.01), "must be 3 rising"),
        ((probabilities, labels, MACS, 1.5), "from 0 to 1, got 1.5"),
        ((probabilities, labels, MACS, float("nan")), "from 0 to 1"),
        (([np.full_like(p, np.nan) for p in probabilities], labels, MACS, 0.01), "finite"),
    ]:
        with pytest.raises(InputError, match=message):
            calibrate(*arguments)


@pytest.mark.parametrize("drop", [0.005, 0.013, 0.1])
def test_the_least_number_of_images_lets_something_leave_and_one_pair_less_nothing(drop):
    needed = 2 * least_images(drop)
    for images, leaves in ((needed, True), (needed - 2, False)):
        early = end = np.tile([1.0, 0.0], (images, 1))
        routing = calibrate([early, end], np.zeros(images, int), [10, 30], drop)
        assert (routing.shares[0] == 1) == leaves
        assert routing.images_needed == (None if leaves else needed)


def test_no_number_of_images_promises_that_nothing_is_ever_lost():
    early, end, labels = np.tile([0.6, 0.4], (500, 1)), np.tile([0.2, 0.8], (500, 1)), np.ones(500, int)
    assert calibrate([early, end], labels, [10, 30], 0.01).images_needed is None
