import threading
import time

import keras
import numpy as np
import pytest

from odn_keras import DepthGrowth, InputError, OptimallyDeepNetwork
from odn_keras.data.augmentation import Augmentation
from odn_keras.data.batches import Batches, EvaluationBatches
from odn_keras.data.share import Share

SPLIT = np.arange(100, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8), np.arange(100) % 10


def seen(batches):
    return np.concatenate([batches[index][0][:, 0, 0, 0] for index in range(len(batches))])


def test_every_epoch_is_another_order_and_leaves_out_the_odd_rest():
    batches = Batches(SPLIT, 10, batch_size=30)
    first = seen(batches)
    batches.on_epoch_end()
    assert len(batches) == 3 and len(set(first)) == 90
    assert not np.array_equal(first, seen(batches))


def test_seed_epoch_and_step_decide_everything():
    augmentation = Augmentation(shift=1, rotate=10)
    batches = Batches(SPLIT, 10, 20, seed=3, augmentation=augmentation)
    batches.on_epoch_end()
    resumed = Batches(SPLIT, 10, 20, seed=3, augmentation=augmentation)
    resumed.seek(epoch=1, step=2)
    assert len(resumed) == 3
    np.testing.assert_array_equal(batches[2][0], resumed[0][0])
    resumed.on_epoch_end()
    batches.seek(epoch=2)
    assert len(resumed) == 5
    np.testing.assert_array_equal(batches[4][0], resumed[4][0])
    other = Batches(SPLIT, 10, 20, seed=4, augmentation=augmentation)
    assert not np.array_equal(batches[2][0], other[2][0])


def test_images_keep_their_labels_and_smoothing_sums_to_one():
    images, labels = Batches(SPLIT, 10, 20, label_smoothing=0.1)[0]
    assert (images.dtype, labels.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(labels.argmax(axis=-1), images[:, 0, 0, 0] % 10)
    np.testing.assert_allclose(labels.max(axis=-1), 0.91, rtol=1e-6)
    np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(threads):
    augmentation = Augmentation(shift=1, rotate=10, mixup=1.0)
    alone, several = (Batches(SPLIT, 10, 20, seed=3, augmentation=augmentation, threads=n) for n in (0, threads))
    for _ in (0, 1):
        for index in range(len(alone)):
            for ours, theirs in zip(alone[index], several[index], strict=True):
                np.testing.assert_array_equal(ours, theirs)
        alone.on_epoch_end()
        several.on_epoch_end()


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(shift=1), Augmentation(flip=True, brightness=0.5, erase=0.5), Augmentation(mixup=1, cutmix=1)],
)
def test_the_shares_of_all_processes_make_up_the_batch(augmentation):
    whole = Batches(SPLIT, 10, 20, augmentation=augmentation)[1]
    parts = [Batches(SPLIT, 10, 20, augmentation=augmentation, share=Share(n, 2, 4))[1] for n in range(2)]
    for index in range(2):
        np.testing.assert_array_equal(whole[index], np.concatenate([part[index] for part in parts]))
        shared = Batches(SPLIT, 10, 20, augmentation=augmentation, share=Share(1, 2, 4))
        np.testing.assert_array_equal(whole[index], shared.whole()[1][index])


def test_mixed_images_have_the_labels_of_both():
    images, labels = Batches(SPLIT, 10, 20, augmentation=Augmentation(mixup=1.0))[0]
    np.testing.assert_allclose(labels.sum(axis=-1), 1, rtol=1e-6)
    mixed = (labels > 0).sum(axis=-1) == 2
    assert mixed.sum() > 10
    # every image is of one grey level, which says where it comes from: so does the blend of two
    assert len(np.unique(images)) > 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": (SPLIT[0], SPLIT[1][:-1])}, r"integers of shape \(100,\), one for each image, got int64 \(99,\)"),
        ({"split": (SPLIT[0], np.eye(10)[SPLIT[1]])}, "labels must be integers"),
        ({"split": (SPLIT[0], SPLIT[1] - 1)}, "labels must be from 0 to 9, these go from -1 to 8"),
        ({"num_classes": 5}, "labels must be from 0 to 4"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 101}, "a batch of 101 needs as many images, there are 100"),
        ({"label_smoothing": 1.0}, "label_smoothing must be"),
        ({"split": (SPLIT[0] / 255, SPLIT[1]), "augmentation": Augmentation(erase=0.1)}, "type uint8, .*got float64"),
    ],
    ids=str,
)
def test_what_would_train_on_something_else_in_silence_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        Batches(**{"split": SPLIT, "num_classes": 10, "batch_size": 20, **change})
    if not change.keys() & {"augmentation", "label_smoothing"} and change.get("batch_size") != 101:
        with pytest.raises(InputError, match=words):
            EvaluationBatches(**{"split": SPLIT, "num_classes": 10, "batch_size": 20, **change})


def _threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("batches")}


@pytest.mark.parametrize(
    "callbacks", [[], [DepthGrowth(1.0, max_depth=1, cycle_epochs=3, verbose=0)]], ids=["plain", "growing"]
)
def test_a_training_makes_each_batch_about_once_in_order_and_leaves_no_thread_behind(callbacks, monkeypatch):
    others = _threads()  # of earlier tests
    made, make = [], Batches._make
    monkeypatch.setattr(Batches, "_make", lambda self, place: made.append(place) or make(self, place))
    model = OptimallyDeepNetwork("resnet18", (4, 4, 1), 10, width=2)
    model.compile("sgd", loss="categorical_crossentropy")
    batches, validation = Batches(SPLIT, 10, batch_size=5), EvaluationBatches(SPLIT, 10, 20)
    model.fit(batches, epochs=3, validation_data=validation, callbacks=callbacks, verbose=0)
    for _ in range(3):  # TensorFlow keeps what it has read from
        keras.Sequential([keras.layers.Flatten()]).predict(EvaluationBatches(SPLIT, 10, 20), verbose=0)
    assert 60 <= len(made) <= 120  # some are looked at before, and by the averaged weights after every epoch
    deadline = time.monotonic() + 5
    while _threads() - others and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _threads() - others


def test_evaluation_takes_every_image_once_in_order():
    batches = EvaluationBatches(SPLIT, 10, 32)
    np.testing.assert_array_equal(seen(batches), np.arange(100))
    assert len(batches) == 4 and len(batches[3][0]) == 4


def test_evaluation_on_several_devices_fills_up_with_weightless_images():
    split = SPLIT[0][:98], SPLIT[1][:98]
    parts = [EvaluationBatches(split, 10, 32, Share(process, 2, 4)) for process in range(2)]
    images, labels, weights = (np.concatenate(both) for both in zip(parts[0][3], parts[1][3], strict=True))
    assert images.shape[0] == 4 and weights.tolist() == [1, 1, 0, 0]
    assert images[:2, 0, 0, 0].tolist() == [96, 97] and labels.argmax(axis=-1)[:2].tolist() == [6, 7]
