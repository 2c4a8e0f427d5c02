import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.growing.class_score import ClassScore
from odn_keras.utils.scores import score

RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 3], 200, p=[0.8, 0.15, 0.05])  # nothing of class 2
OUTPUTS = (RNG.random((200, 4)) + np.eye(4)[LABELS] * 0.6).astype("float32")


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_batch_by_batch_it_is_the_score_of_all(metric):
    found = ClassScore(metric, 4)
    assert float(found.result()) == 0
    for part, labels in ((slice(0, 70), LABELS), (slice(70, 200), np.eye(4, dtype="float32")[LABELS])):
        found.update_state(labels[part], OUTPUTS[part])
    assert float(found.result()) == pytest.approx(score(metric, LABELS, OUTPUTS.argmax(axis=-1)), abs=1e-6)
    found.reset_state()
    assert float(found.result()) == 0 and found.name == metric


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_images_without_weight_do_not_count(metric):
    found, weights = ClassScore(metric, 4), np.arange(200) < 150
    found.update_state(LABELS, OUTPUTS, weights.astype("float32"))
    assert float(found.result()) == pytest.approx(score(metric, LABELS[:150], OUTPUTS[:150].argmax(axis=-1)), abs=1e-6)


def test_other_metrics_are_refused():
    with pytest.raises(InputError, match="balanced_accuracy or macro_f1, got 'accuracy'"):
        ClassScore("accuracy", 4)
