import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from odn_keras.data.augmentation import Augmentation, may_mirror, preset
from odn_keras.data.presets import PRESETS
from odn_keras.errors import InputError

RNG = np.random.default_rng(0)
BLOCKS = np.kron(RNG.integers(0, 256, (16, 4, 4, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)  # 16 images of 16x16


def changed(seed=0, images=BLOCKS, **values):
    return Augmentation(**values)(images, np.random.default_rng(seed))


def test_the_default_changes_nothing():
    np.testing.assert_array_equal(changed(), BLOCKS)


@pytest.mark.parametrize(
    "values",
    [
        {"shift": 3},
        {"rotate": 20},
        {"zoom": 0.3},
        {"flip": True},
        {"brightness": 0.5},
        {"contrast": 0.5},
        {"saturation": 0.5},
        {"hue": 40},
        {"erase": 0.5},
    ],
)
def test_each_change_changes_images_and_the_seed_decides_how(values):
    before = BLOCKS.copy()
    once, again, other = changed(1, **values), changed(1, **values), changed(2, **values)
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other) and not np.array_equal(once, BLOCKS)
    assert once.dtype == np.uint8 and once.shape == BLOCKS.shape
    np.testing.assert_array_equal(BLOCKS, before)


def test_a_shift_alone_is_by_whole_pixels():
    dot = np.zeros((200, 9, 9, 1), np.uint8)
    dot[:, 4, 4] = 255
    moved = changed(images=dot, shift=2)
    places = np.argwhere(moved[..., 0] == 255)
    assert len(places) == 200  # none is smeared over two pixels, none is lost
    assert {tuple(place - 4) for place in places[:, 1:]} == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


def test_flip_mirrors_left_and_right_about_half_of_the_images():
    images = np.zeros((400, 4, 4, 1), np.uint8)
    images[:, 0, 0] = 200
    flipped = changed(images=images, flip=True)
    left, right = flipped[:, 0, 0, 0] == 200, flipped[:, 0, 3, 0] == 200
    assert (left ^ right).all() and 150 < right.sum() < 250


def test_geometry_is_an_affine_map_about_the_center():
    augmentation = Augmentation(shift=2, rotate=20, zoom=0.2, flip=True)
    draws = augmentation.draw(np.random.default_rng(3), len(BLOCKS), (16, 16, 3))
    swap = np.array([[0, 1], [1, 0]])  # (x, y) -> (row, column)
    for image, matrix, ours in zip(BLOCKS, draws.affine, augmentation.change(BLOCKS, draws), strict=True):
        theirs = ndimage.affine_transform(
            image[..., 0].astype(float), swap @ matrix[:, :2] @ swap, matrix[::-1, 2], order=1, mode="nearest"
        )
        assert np.abs(ours[..., 0] - theirs).mean() < 2


def test_rotation_stays_within_its_limit():
    angles = Augmentation(rotate=15).draw(np.random.default_rng(0), 500, (8, 8, 1)).affine
    degrees = np.rad2deg(np.arctan2(angles[:, 1, 0], angles[:, 0, 0]))
    assert 13 < np.abs(degrees).max() <= 15


def test_colours_change_as_their_names_say():
    grey = np.full((50, 4, 4, 3), 100, np.uint8)
    np.testing.assert_allclose(changed(images=grey, saturation=0.9, hue=90), grey, atol=1)  # a grey has neither
    bright = changed(images=grey, brightness=0.5)
    assert 50 <= bright.min() < 60 and 140 < bright.max() <= 150
    np.testing.assert_allclose(changed(images=grey, contrast=0.9), grey, atol=1)  # one level has none
    halves = np.full((50, 4, 4, 3), 60, np.uint8)
    halves[:, :2] = 140
    spread = changed(images=halves, contrast=0.5).astype(int)
    np.testing.assert_allclose(spread.mean(axis=(1, 2, 3)), 100, atol=1)
    distances = spread[:, 0, 0, 0] - spread[:, 3, 0, 0]
    assert 40 <= distances.min() < 50 and 110 < distances.max() <= 120
    luma = np.array([0.299, 0.587, 0.114])
    soft = np.clip(BLOCKS, 80, 170)  # so that nothing is cut off at 0 or 255
    turned = changed(images=soft, hue=30)
    np.testing.assert_allclose(turned @ luma, soft @ luma, atol=2)
    assert np.abs(turned.astype(int) - soft).max() > 10


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_than_rgb_images_change_in_brightness_and_contrast(channels):
    images = np.full((20, 6, 6, channels), 100, np.uint8)
    assert changed(images=images, shift=1, brightness=0.5, saturation=0.5, erase=0.3).shape == images.shape


def test_about_half_of_the_images_are_erased_and_no_more_than_was_said():
    images = np.zeros((1000, 20, 20, 1), np.uint8)
    parts = (changed(images=images, erase=0.25) > 0).mean(axis=(1, 2, 3))
    assert 400 < (parts > 0).sum() < 550 and 0.2 < parts.max() < 0.3


def test_cutmix_keeps_the_label_by_what_is_left_of_the_image():
    images = np.zeros((64, 10, 10, 1), np.uint8)
    images[32:] = 255
    labels = np.eye(2, dtype=np.float32)[np.arange(64) // 32]
    mixed, soft = Augmentation(cutmix=1.0)(images, np.random.default_rng(0), labels)
    np.testing.assert_allclose((mixed > 0).mean(axis=(1, 2, 3)), soft[:, 1], atol=1e-6)
    assert ((soft[:, 1] > 0) & (soft[:, 1] < 1)).sum() > 0


def test_mixing_wants_one_hot_labels():
    for labels in (None, np.arange(16)):
        with pytest.raises(InputError, match="one-hot"):
            Augmentation(mixup=0.2)(BLOCKS, np.random.default_rng(0), labels)


@pytest.mark.parametrize(
    "values", [{"shift": -1}, {"zoom": 1}, {"rotate": 181}, {"brightness": 1.5}, {"mixup": float("nan")}, {"hue": 999}]
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(InputError, match=next(iter(values))):
        Augmentation(**values)


def test_presets_never_mirror_letters_and_digits():
    for name in PRESETS:
        assert not preset(name, (28, 28, 1), mirror=False).flip
    assert preset("standard", (32, 32, 3), mirror=True).flip
    assert not may_mirror([str(n) for n in range(10)], 3)
    assert not may_mirror(["seven", "Eight"], 3)
    for names in (
        ["0", "1", "background"],
        ["digit0", "digit1"],
        ["letter_A", "Letter B"],
        [" 3 "],
        ["3 - three"],
        ["あ"],
    ):
        assert not may_mirror(names, 3), names
    assert not may_mirror(["arrow-left", "arrow-right"], 3)
    assert may_mirror(["copyright", "T-shirt", "boeing 747", "A380 plane"], 3)
    assert may_mirror(["cat", "dog"], 3) and not may_mirror(["cat", "dog"], 1)


def test_presets_scale_with_the_image():
    small, large = (preset("light", (side, side, 3), mirror=True) for side in (32, 96))
    assert (small.shift, large.shift) == (4, 12)
    with pytest.raises(InputError, match="none, light, standard, strong"):
        preset("huge", (32, 32, 3), mirror=True)


def test_presets_are_of_what_there_is():
    names = {field.name for field in dataclasses.fields(Augmentation)} | {"label_smoothing"}
    assert all(values.keys() <= names for values in PRESETS.values())


def test_other_numbers_than_pixels_are_refused():
    for images in (np.random.default_rng(0).random((2, 8, 8, 3)), np.zeros((2, 8, 8, 3), int)):
        with pytest.raises(InputError, match="must be pixels of type uint8, 0 to 255, got"):
            Augmentation(brightness=0.1)(images, np.random.default_rng(0))
    for value in ("2", None, [1]):
        with pytest.raises(InputError, match="rotate must be a number, got"):
            Augmentation(rotate=value)
