import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.data import splits

BOTH = ("validation", "test")


def keys_of(number, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, number, np.uint64)


def of_each(keys, found):
    return {split: set(keys[indices].tolist()) for split, indices in found.items()}


def test_one_image_more_moves_no_other():
    keys, labels = keys_of(400), np.arange(400) % 4
    before = of_each(keys, splits.by_key(keys, labels, BOTH))
    order = np.random.default_rng(1).permutation(399)
    after = of_each(keys[order], splits.by_key(keys[order], labels[order], BOTH))
    assert after == {split: of_it - {int(keys[399])} for split, of_it in before.items()}


def test_the_shares_are_as_promised():
    keys, labels = keys_of(20_000), np.arange(20_000) % 3
    counts = {split: len(indices) for split, indices in splits.by_key(keys, labels, BOTH).items()}
    assert counts == {"train": pytest.approx(14_167, abs=200), **counts}
    assert counts["test"] == pytest.approx(3000, abs=150) and counts["validation"] == pytest.approx(2833, abs=150)
    assert set(splits.by_key(keys, labels, ("validation",))) == {"train", "validation"}


@pytest.mark.parametrize("seed", range(20))
def test_every_class_trains_and_one_of_three_images_is_in_every_split(seed):
    keys, labels = keys_of(6, seed), np.array([0, 1, 1, 2, 2, 2])
    found = splits.by_key(keys, labels, BOTH)
    assert set(labels[found["train"]]) == {0, 1, 2}
    assert all(2 in labels[indices] for indices in found.values())
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(6))


def test_equal_images_stay_together():
    keys = np.repeat(keys_of(100), 2)
    found = of_each(keys, splits.by_key(keys, np.arange(200) // 50, BOTH))
    assert not (found["train"] & found["test"] or found["train"] & found["validation"])


def test_equal_images_stay_together_where_there_are_too_many_to_validate_on(monkeypatch):
    monkeypatch.setattr(splits, "MAX_VALIDATION_IMAGES", 23)
    keys = np.repeat(keys_of(100), 4)
    found = splits.by_key(keys, np.zeros(400, int), BOTH)
    assert 16 <= len(found["validation"]) <= 23
    of_them = of_each(keys, found)
    assert not of_them["train"] & of_them["validation"]


def test_a_class_of_equal_images_is_in_every_split_all_the_same():
    keys, labels = np.repeat(keys_of(2), 50), np.repeat([0, 1], 50)
    for indices in splits.by_key(keys, labels, BOTH).values():
        assert set(labels[indices]) == {0, 1}


def test_numbers_of_images_are_kept_to_and_the_largest_number_of_validation_images(monkeypatch):
    keys, labels = keys_of(90), np.arange(90) % 3
    found = splits.by_key(keys, labels, ("validation",), validation_images=7, train_images=10)
    assert [len(found[split]) for split in ("train", "validation")] == [10, 7]
    assert set(labels[found["train"]]) == set(labels[found["validation"]]) == {0, 1, 2}
    assert not set(found["train"]) & set(found["validation"])
    monkeypatch.setattr(splits, "MAX_VALIDATION_IMAGES", 5)
    assert len(splits.by_key(keys, labels, BOTH)["validation"]) == 5


@pytest.mark.parametrize("arguments", [{"validation_images": 90}, {"validation_images": 0.2}, {"train_images": 0}])
def test_impossible_numbers_are_refused(arguments):
    with pytest.raises(InputError, match="must be from 1 to"):
        splits.by_key(keys_of(90), np.arange(90) % 3, ("validation",), **arguments)
