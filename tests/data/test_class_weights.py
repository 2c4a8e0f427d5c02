import numpy as np
import pytest

from odn_keras import Augmentation, Batches, InputError
from odn_keras.data.class_weights import class_weights

NAMES, LABELS = ["cat", "dog", "a:b"], np.array([0] * 12 + [1] * 6 + [2] * 2)


def test_balanced_weights_make_classes_count_alike_and_images_one_on_average():
    weights = class_weights("balanced", LABELS, NAMES)
    np.testing.assert_allclose(np.bincount(LABELS) * weights, len(LABELS) / 3, rtol=1e-6)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert class_weights("none", LABELS, NAMES) is None


def test_weights_by_name_leave_the_others_at_one():
    assert class_weights("dog:2.5,a:b:4", LABELS, NAMES).tolist() == [1, 2.5, 4]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("equal", "must be none, balanced or weights above 0 by names"),
        ("cat:-1", "got 'cat:-1'"),
        ("cat:nan", "got 'cat:nan'"),
        ("cat", "got 'cat'"),
        ("cow:2", "class_weight names 'cow', which is no class; there are 'cat', 'dog', 'a:b'"),
    ],
)
def test_what_is_no_weight_is_refused(text, told):
    with pytest.raises(InputError) as refused:
        class_weights(text, LABELS, NAMES)
    assert told in str(refused.value)


def test_batches_weigh_every_image_by_its_class(digits):
    images, weights = digits.train[0][: len(LABELS)], class_weights("balanced", LABELS, NAMES)
    batches = Batches((images, LABELS), 3, 10, label_smoothing=0.1, class_weights=weights)
    for index in range(len(batches)):
        _, targets, weighed = batches[index]
        np.testing.assert_allclose(weighed, weights[targets.argmax(axis=-1)], rtol=1e-5)
    plain = Batches((images, LABELS), 3, 10, label_smoothing=0.1)
    np.testing.assert_array_equal(plain[0][0], batches[0][0])
    assert len(plain[0]) == 2 and "class_weights" not in plain.settings() and "class_weights" in batches.settings()
    with pytest.raises(InputError, match=r"of shape \(3,\), got \(2,\)"):
        Batches((images, LABELS), 3, 10, class_weights=np.ones(2))


def test_a_mixed_image_has_the_mixed_weight(digits):
    images, weights = digits.train[0][: len(LABELS)], np.array([1.0, 10.0, 100.0])
    batches = Batches((images, LABELS), 3, 20, augmentation=Augmentation(mixup=1.0), class_weights=weights)
    _, targets, weighed = batches[0]
    np.testing.assert_allclose(weighed, targets @ weights, rtol=1e-5)
    assert len(np.unique(weighed.round(3))) > 3
