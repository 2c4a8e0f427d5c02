import numpy as np
import pytest

from odn_keras import Batches, EvaluationBatches, InputError
from odn_keras.growing.training_data import TrainingData


def data(x, steps=4, **more):
    given = {"x": x, "y": None, "batch_size": None, "steps_per_epoch": None}
    return TrainingData({**given, "validation_data": None, "validation_split": 0.0, **more}, steps)


def test_batches_are_sought_unless_epochs_are_cut(digits):
    batches = Batches(digits.train, 10, 64)
    validation = EvaluationBatches(digits.validation, 10, 100)
    whole = data(batches, len(batches), validation_data=validation)
    assert whole.seekable and whole.check and whole.fit_arguments()["shuffle"] is False
    assert whole.settings() == batches.settings()
    cut = data(batches, 4, steps_per_epoch=4, validation_data=validation)
    assert not cut.seekable and cut.check is None and "shuffle" not in cut.fit_arguments()


def test_an_iterator_is_read_by_one_fit_after_the_other_and_may_not_end_early():
    iterator = data((np.full((2, 8, 8, 1), number), np.zeros(2)) for number in range(20))
    iterator.start()
    first = iterator.fit_arguments()["x"]
    assert [next(first)[0].max() for _ in range(6)] == list(range(6))
    iterator.trained(4)  # two were only read ahead
    assert next(iterator.fit_arguments()["x"])[0].max() == 4
    assert next(iterator.images()).max() == 0 and not iterator.seekable and iterator.settings() is None
    iterator.check_length(4)
    with pytest.raises(InputError, match="ended after 3 of the 4 steps"):
        iterator.check_length(3)


def test_examples_have_labels_and_weights():
    images, labels, weights = np.zeros((8, 8, 8, 1)), np.arange(8), np.arange(8) / 8
    arrays = data(images, 1, y=labels, sample_weight=weights, batch_size=8, class_weight={0: 2.0})
    ((_, found, heavy),) = arrays.examples()
    assert sorted(found) == list(range(8)) and list(heavy) == list(found / 8)
    assert arrays.class_weight == {0: 2.0}
    arrays.check_length(0)  # arrays cannot end early
