import math

import keras
import numpy as np
import pytest

from odn_keras import Batches, NetworkSpec, build
from odn_keras.growing.averaging import some_examples
from odn_keras.growing.divergence import DivergenceGuard, TrainingDiverged, loss_limit

CLASSES, BATCH = 4, 8
LABELS = np.arange(BATCH) % CLASSES
SURE = -math.log(keras.config.epsilon())  # of a class that is certain and wrong


@pytest.fixture(scope="module")
def network():
    return build(NetworkSpec("resnet18", (8, 8, 1), CLASSES, width=2), 1)


def limit(network, loss="sparse_categorical_crossentropy", labels=LABELS, weights=None, class_weight=None, **compiled):
    network.compile("sgd", loss, **compiled)
    return loss_limit(network, [(None, labels, weights)], CLASSES, class_weight)


def test_the_limit_is_half_way_from_guessing_to_surely_wrong(network):
    assert limit(network) == pytest.approx((math.log(CLASSES) + SURE) / 2, rel=1e-3)
    one_hot = np.eye(CLASSES)[LABELS]
    assert limit(network, "categorical_crossentropy", one_hot) == pytest.approx(limit(network))


def test_it_grows_with_whatever_the_loss_is_multiplied_by(network):
    usual, summed = limit(network), keras.losses.SparseCategoricalCrossentropy(reduction="sum")
    assert limit(network, summed) == pytest.approx(BATCH * usual, rel=1e-5)
    assert limit(network, loss_weights=[20.0]) == pytest.approx(20 * usual, rel=1e-5)
    assert limit(network, weights=np.full(BATCH, 3.0)) == pytest.approx(3 * usual, rel=1e-5)
    assert limit(network, class_weight=dict.fromkeys(range(CLASSES), 5.0)) == pytest.approx(5 * usual, rel=1e-5)

    def own(labels, probabilities):
        return 7 * keras.losses.sparse_categorical_crossentropy(labels, probabilities)

    assert limit(network, own) == pytest.approx(7 * usual, rel=1e-5)


def test_weights_of_classes_within_batches_multiply_it_as_they_do_the_loss(network):
    images, labels = np.zeros((80, 8, 8, 1), np.uint8), np.arange(80) % CLASSES
    network.compile("sgd", "categorical_crossentropy")
    limits = [
        loss_limit(network, some_examples(Batches((images, labels), CLASSES, 20, class_weights=weights), None), CLASSES)
        for weights in (None, np.full(CLASSES, 5.0))
    ]
    assert limits[1] == pytest.approx(5 * limits[0], rel=1e-5) and limits[0] < math.inf


def test_batches_that_do_not_count_set_no_limit(network):
    network.compile("sgd", "sparse_categorical_crossentropy")
    batches = [(None, LABELS, np.zeros(BATCH)), (None, LABELS, np.ones(BATCH))]
    assert loss_limit(network, batches, CLASSES) == pytest.approx(limit(network))
    assert loss_limit(network, batches[:1], CLASSES) == math.inf
    assert limit(network, labels=None) == math.inf


def test_a_guard_refuses_what_is_not_finite_or_above_its_limit(network):
    guard = DivergenceGuard()
    guard.check(network, 1e9, epoch=0, depth=1)  # no limit is known yet
    guard.limit = 8.0
    guard.check(network, 8.0, epoch=0, depth=1)
    for loss in (8.1, math.nan, math.inf):
        with pytest.raises(TrainingDiverged, match=r"in epoch 3 \(depth 2\): lower the learning rate"):
            guard.check(network, loss, epoch=2, depth=2)


def test_the_loss_is_looked_at_every_hundred_steps_or_when_several_steps_pass_one_of_these():
    due = [DivergenceGuard.is_due(*steps) for steps in ((98, 99), (99, 100), (100, 101), (97, 104))]
    assert due == [False, True, False, True]
