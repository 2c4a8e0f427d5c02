import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from odn_keras import load_dataset
from odn_keras.data.fingerprint import difference


@pytest.fixture
def folder(tmp_path):
    """Three classes of thirty images of noise."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "pets" / name / f"{number:02}.png")
    return tmp_path / "pets"


def record(path, **arguments):
    return json.loads(json.dumps(dataclasses.asdict(load_dataset(str(path), **arguments).fingerprint)))


def changed(then, path, **arguments):
    return difference(then, load_dataset(str(path), **arguments).fingerprint)


def test_the_same_content_is_the_same_wherever_and_however_it_is_called(folder):
    before, then = load_dataset(str(folder)), record(folder)
    (folder / "cat" / "00.png").rename(folder / "cat" / "zz.png")
    moved = folder.rename(folder.parent / "elsewhere")
    after = load_dataset(str(moved), in_memory=False)
    assert difference(then, after.fingerprint) is None
    np.testing.assert_array_equal(before.train[0], after.train[0][:])
    np.testing.assert_array_equal(before.train[1], after.train[1])


def test_a_photo_more_is_said_and_leaves_the_others_where_they_were(folder):
    before, then = load_dataset(str(folder)), record(folder)
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(folder / "dog" / "07b.png")
    assert changed(then, folder) in {f"1 image more in 'dog' ({split})" for split in ("train", "validation", "test")}
    after = load_dataset(str(folder))
    for split in ("train", "validation", "test"):
        images = [{image.tobytes() for image in getattr(dataset, split)[0]} for dataset in (before, after)]
        assert images[0] <= images[1]


def test_a_class_renamed_gone_or_new_is_said(folder):
    then = record(folder)
    (folder / "dog").rename(folder / "ant")
    assert changed(then, folder) == "class 'dog' is gone and class 'ant' is new"


def test_other_content_sizes_and_kinds_are_said(folder, npz):
    then = record(folder)
    train = load_dataset(str(folder)).train[0][0]
    assert changed(then, folder, image_size=(4, 6)) == "images of 8x8x1 then, of 4x6x1 now"
    assert changed(then, npz()) == "a folder then, an .npz file now"
    for file in folder.rglob("*.png"):
        if (np.asarray(Image.open(file))[..., np.newaxis] == train).all():
            file.unlink()
            name = file.parent.name
    assert changed(then, folder) == f"1 image fewer in '{name}' (train)"


def test_as_many_other_images_are_said(npz):
    rng = np.random.default_rng(1)
    then = record(npz())
    now = changed(then, npz(x_test=rng.integers(0, 256, (10, 8, 8)).astype(np.uint8)))
    assert now == "other images of the same number in '0' (test), other images of the same number in '1' (test)"


def test_many_changes_are_one_line(folder):
    then = record(folder)
    for file in folder.glob("*/1*.png"):
        file.unlink()
    line = changed(then, folder)
    assert "fewer" in line and line.endswith("more such changes") and len(line) < 200


def test_classes_in_another_order_are_said(npz):
    then = record(npz(class_names=np.array(["a", "b"])))
    line = changed(then, npz(class_names=np.array(["b", "a"])))
    assert line == "the classes are in another order: 'a', 'b' then, 'b', 'a' now"


def test_fixed_sets_are_known_by_the_order_of_their_labels(digits):
    then = record("digits")
    assert difference(then, digits.fingerprint) is None
    assert difference(record("digits", train_images=300), digits.fingerprint)


@pytest.mark.parametrize("then", [{}, [], {"kind": 3}, None])
def test_a_damaged_record_is_said(digits, then):
    assert difference(then, digits.fingerprint) == "the record of the data is damaged"
