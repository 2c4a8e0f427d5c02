import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.utils.scores import METRICS, ClassScores, score

LABELS, ANSWERS = np.array([0] * 8 + [1] * 2), np.array([0] * 7 + [1, 1, 0])


def test_each_metric_is_what_its_name_says():
    assert score("accuracy", LABELS, ANSWERS) == 0.8
    assert score("balanced_accuracy", LABELS, ANSWERS) == pytest.approx((7 / 8 + 1 / 2) / 2)
    assert score("macro_f1", LABELS, ANSWERS) == pytest.approx((14 / 16 + 2 / 4) / 2)


@pytest.mark.parametrize("metric", METRICS)
def test_a_class_without_images_does_not_count(metric):
    assert score(metric, np.array([0, 0, 2]), np.array([0, 0, 2])) == 1
    assert score(metric, np.array([0, 0]), np.array([1, 1])) == 0


def test_classes_have_their_own_scores_and_nan_where_there_are_none():
    scores = ClassScores.of(LABELS, ANSWERS, 3)
    assert scores.confusion.tolist() == [[7, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert scores.images.tolist() == [8, 2, 0]
    np.testing.assert_allclose(scores.recall, [7 / 8, 1 / 2, np.nan])
    np.testing.assert_allclose(scores.precision, [7 / 8, 1 / 2, np.nan])


def test_unknown_metrics_and_no_images_are_refused():
    with pytest.raises(InputError, match="one of accuracy, balanced_accuracy, macro_f1, got 'recall'"):
        score("recall", LABELS, ANSWERS)
    with pytest.raises(InputError, match="at least one image"):
        score("accuracy", LABELS[:0], ANSWERS[:0])
