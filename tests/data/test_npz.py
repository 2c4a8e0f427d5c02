"""Arrays as people have them: other types, other orders of axes, labels of other kinds."""

import numpy as np
import pytest

from odn_keras import InputError, load_dataset

RNG = np.random.default_rng(3)
PIXELS = {name: RNG.integers(0, 256, (count, 8, 8), np.uint8) for name, count in (("x_train", 40), ("x_test", 10))}
for pixels in PIXELS.values():
    pixels[0, 0, :2] = 0, 255
LABELS = {"y_train": np.arange(40) % 2, "y_test": np.arange(10) % 2}


def refusal(path):
    with pytest.raises(InputError) as refused:
        load_dataset(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def changed(arrays, convert):
    return {name: convert(array) for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda x: (x / 255).astype(np.float32), "float32 from 0 to 1 read as 0 to 255"),
        (lambda x: x / 255, "float64 from 0 to 1 read as 0 to 255"),
        (lambda x: x.astype(np.float32), "float32 from 0 to 255 rounded to whole numbers"),
        (lambda x: x.astype(np.int64), "int64 from 0 to 255 read as they are"),
        (lambda x: x.astype(np.uint16), "uint16 from 0 to 255 read as they are"),
        (lambda x: x.astype(np.uint16) << 8, "uint16 from 0 to 65280 read as 16 bits a pixel"),
        (lambda x: np.asfortranarray(x.astype(np.float32)), "float32 from 0 to 255 rounded to whole numbers"),
    ],
)
def test_pixels_of_other_types_are_converted_and_said(npz, monkeypatch, convert, said):
    monkeypatch.setattr("odn_keras.data.source.CHUNK_BYTES", 7 * 64)
    monkeypatch.setattr("odn_keras.data.npz.CHUNK_BYTES", 7 * 64)
    with pytest.warns(UserWarning, match=f"x_train, x_test in .*: {said}"):
        dataset = load_dataset(npz(**LABELS, **changed(PIXELS, convert)))
    plain = load_dataset(npz(**LABELS, **PIXELS))
    np.testing.assert_array_equal(dataset.train[0], plain.train[0])
    np.testing.assert_array_equal(dataset.test[0][..., 0], PIXELS["x_test"])


def test_boolean_pixels_are_black_and_white(npz):
    with pytest.warns(UserWarning, match="bool read as 0 and 255"):
        dataset = load_dataset(npz(**LABELS, **changed(PIXELS, lambda x: x > 128)))
    np.testing.assert_array_equal(dataset.test[0][..., 0], 255 * (PIXELS["x_test"] > 128))


def test_floats_of_a_dark_test_split_are_scaled_as_the_training_split(npz):
    with pytest.warns(UserWarning):
        dark = {"x_train": PIXELS["x_train"].astype(float), "x_test": PIXELS["x_test"] / 15}
        assert load_dataset(npz(**LABELS, **dark)).test[0].max() == 17


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda x: x / 127.5 - 1, r"float64 from -1 to 1; store np.rint\(\(x \+ 1\) \* 127.5\)"),
        (lambda x: (x - x.mean()) / x.std(), "float64 from -.*; store the pixels as they were"),
        (lambda x: np.where(x == 0, np.nan, x), "from nan to nan"),
        (lambda x: np.where(x == 0, np.inf, x), "to inf"),
        (lambda x: x / 16, "the value of white is unknown"),
        (lambda x: x * 300.0, "float64 from 0 to 76500"),
        (lambda x: x.astype(np.uint16) * 16, "from 0 to 4080; the number of bits of a pixel is unknown"),
        (lambda x: x.astype(np.int16) - 128, "int16 from -128 to 127"),
        (lambda x: (x > 128).astype(int), "if 1 is white, store them times 255"),
        (lambda x: x.astype(complex), "must be uint8, got complex128"),
        (lambda x: x.astype("U3"), "must be uint8, got <U3"),
    ],
)
def test_pixels_that_may_mean_several_things_are_refused(npz, convert, said):
    with pytest.raises(InputError, match=said):
        load_dataset(npz(**LABELS, **changed(PIXELS, convert)))


@pytest.mark.parametrize("dtype, one, other", [("f4", 1 / 255, 1), ("f8", 1, 1 / 255), ("u2", 257, 1), ("i8", 1, 257)])
def test_arrays_of_other_scales_are_refused(npz, dtype, one, other):
    """Rounded alike, the fainter one would be black."""
    scaled = {
        name: (PIXELS[name].astype(float) * scale).astype(dtype)
        for name, scale in (("x_train", one), ("x_test", other))
    }
    with pytest.raises(InputError, match=r"x_train to .*, x_test to .*: they are not scaled alike"):
        load_dataset(npz(**LABELS, **scaled))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_is_refused_with_what_to_do(npz, channels):
    first = changed(PIXELS, lambda x: np.repeat(x[:, np.newaxis], channels, axis=1))
    line = refusal(npz(**LABELS, **first))
    assert f"(40, {channels}, 8, 8) seems to have its channels first: store x_train.transpose(0, 2, 3, 1)" in line


def test_images_last_are_refused_by_their_number(npz):
    assert "x_train in" in (line := refusal(npz(**changed(PIXELS, lambda x: x.T)))) and "has 8 images" in line


def test_small_images_with_channels_first_are_refused_too(npz):
    first = changed(PIXELS, lambda x: np.repeat(x[:, np.newaxis, :4, :4], 3, axis=1))
    assert "channels first" in refusal(npz(**first))


def test_other_numbers_of_channels_are_reported(npz):
    many = changed(PIXELS, lambda x: np.repeat(x[..., np.newaxis], 5, axis=-1))
    with pytest.warns(UserWarning, match=r"images of 5 channels, of shape \(8, 8, 5\)"):
        assert load_dataset(npz(**LABELS, **many)).input_shape == (8, 8, 5)


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda y: y.astype(np.float32), "y_train in .*float32, read as integers"),
        (lambda y: y.astype(bool), "y_train in .*bool, read as integers"),
        (lambda y: np.eye(2)[y], "y_train in .*one-hot rows of 2, read as numbers"),
        (lambda y: np.eye(2, dtype=bool)[y], "one-hot rows of 2"),
        (lambda y: y.astype(np.float64)[:, np.newaxis], "float64, read as integers"),
    ],
)
def test_labels_of_other_kinds_are_converted_and_said(npz, convert, said):
    with pytest.warns(UserWarning, match=said):
        dataset = load_dataset(npz(**PIXELS, **changed(LABELS, convert)))
    assert dataset.class_names == ("0", "1")
    np.testing.assert_array_equal(dataset.test[1], LABELS["y_test"])


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda y: y + 0.5, "integers: y_train .*float64 and 0.5"),
        (lambda y: np.where(y == 0, np.nan, y), "float64 and nan"),
        (lambda y: np.full((len(y), 2), 0.5), "or one-hot"),
        (lambda y: np.zeros((len(y), 3), int), "or one-hot"),
        (lambda y: np.array(["cat", "dog"])[y], "is text; store names, numbers = np.unique"),
        (lambda y: y.astype(np.uint64) + np.uint64(2**63), "less than 2.*y_train.* has 9223372036854775809"),
        (lambda y: y.astype("datetime64[D]"), "has type datetime64"),
    ],
)
def test_labels_that_are_no_classes_are_refused(npz, convert, said):
    with pytest.raises(InputError, match=said):
        load_dataset(npz(**PIXELS, **changed(LABELS, convert)))


def test_small_unsigned_labels_are_what_they_are(npz):
    dataset = load_dataset(npz(**PIXELS, **changed(LABELS, lambda y: y.astype(np.uint64) + np.uint64(2**40))))
    assert dataset.class_names == (str(2**40), str(2**40 + 1))


def test_a_class_of_the_test_split_only_is_refused(npz):
    line = refusal(npz(y_test=np.arange(10) % 3))
    assert "class '2' in its test split only: nothing to train on" in line


def test_a_class_without_test_images_is_reported(npz):
    with pytest.warns(UserWarning, match="class '2' has no image to test on"):
        load_dataset(npz(y_train=np.arange(40) % 3))


@pytest.mark.parametrize("suffix", ["val", "valid", "validation"])
def test_validation_images_may_be_given(npz, suffix):
    arrays = {f"x_{suffix}": PIXELS["x_test"], f"y_{suffix}": LABELS["y_test"]}
    dataset = load_dataset(npz(**arrays))
    assert [len(split[0]) for split in (dataset.train, dataset.validation, dataset.test)] == [40, 10, 10]
    np.testing.assert_array_equal(dataset.validation[0][..., 0], PIXELS["x_test"])
    assert f"lacks y_{suffix}" in refusal(npz(**{f"x_{suffix}": PIXELS["x_test"]}))


def test_arrays_that_are_not_used_are_reported(npz):
    with pytest.warns(UserWarning, match="not used: x_extra, notes"):
        load_dataset(npz(x_extra=np.zeros(3), notes=np.zeros(3)))


def test_pixels_of_which_none_is_bright_are_reported(npz):
    """As `(x / 255).astype(np.uint8)` leaves them."""
    faint = changed(PIXELS, lambda x: (x / 255).astype(np.uint8))
    with pytest.warns(UserWarning, match="no pixel of [0-9]+ images is above 1, where 255 is white"):
        load_dataset(npz(**LABELS, **faint))
