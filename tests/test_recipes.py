import numpy as np
import pytest

from odn_keras.recipes import Augmentation, one_cycle


def test_whole_pixel_shifts_move_the_image():
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 4] = 255

    class Fixed:
        def uniform(self, low, high, size=None):
            return np.full(size, high) if size else high

        def random(self):
            return 0.9

    moved = Augmentation(shift=2)(image, [Fixed()])
    assert np.argwhere(moved[0, :, :, 0]).tolist() == [[2, 2]] or np.argwhere(moved[0, :, :, 0]).tolist() == [[6, 6]]
    assert moved.max() == 255


def test_flip_mirrors_left_and_right_about_half_of_the_images():
    images = np.zeros((400, 4, 4, 3), np.uint8)
    images[:, :, 0] = 200
    flipped = Augmentation(flip=True)(images, np.random.default_rng(0).spawn(400))
    left, right = flipped[:, 0, 0, 0] == 200, flipped[:, 0, 3, 0] == 200
    assert np.all(left ^ right)
    assert 0.4 < right.mean() < 0.6


def test_augmentation_keeps_shape_and_type_and_follows_the_seed():
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3)).astype(np.uint8)
    augmentation = Augmentation(shift=2, rotate=15, zoom=0.1, flip=True)
    first, again, other = (augmentation(images, np.random.default_rng(seed).spawn(5)) for seed in (1, 1, 2))
    assert first.shape == images.shape and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_cycle_warms_up_and_ends_at_zero():
    rates = [float(one_cycle(0.1, 100)(step)) for step in range(101)]
    assert [float(one_cycle(0.1, 100, 60)(step)) for step in range(41)] == rates[60:]
    assert rates[0] < 0.01 and np.argmax(rates) == 10 and rates[10] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0, abs=1e-6)
