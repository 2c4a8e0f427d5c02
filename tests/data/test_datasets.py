import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, load_dataset


def test_digits_are_the_uci_digits(digits):
    counts = [len(split[0]) for split in (digits.train, digits.validation, digits.test)]
    assert sum(counts) == 1797 and min(counts) > 200
    assert digits.input_shape == (8, 8, 1) and digits.class_names == tuple("0123456789")
    images = digits.train[0]
    assert images.dtype == np.uint8 and (images.min(), images.max()) == (0, 255)


def test_splits_are_disjoint_stratified_and_always_the_same(digits):
    again = load_dataset("digits")
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(digits, split)[0], getattr(again, split)[0])
        shares = np.bincount(getattr(digits, split)[1], minlength=10) / len(getattr(digits, split)[1])
        assert shares == pytest.approx([0.1] * 10, abs=0.02)


def test_splits_of_distinct_images_share_none(npz):
    images = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones((1, 8, 8), np.uint8)
    path = npz(x_train=images, y_train=np.arange(60) % 3, y_test=np.arange(10) % 3)
    dataset = load_dataset(str(path), validation_images=15, train_images=30)
    train, validation = (set(part[0][:, 0, 0, 0].tolist()) for part in (dataset.train, dataset.validation))
    assert (len(train), len(validation)) == (30, 15) and not train & validation


def test_labels_of_any_integers_become_0_to_n_minus_1(npz):
    dataset = load_dataset(str(npz(y_train=np.arange(40) % 2 * 5 + 3, y_test=np.full(10, 8))))
    assert dataset.class_names == ("3", "8")
    assert set(dataset.train[1]) == {0, 1} and set(dataset.test[1]) == {1}
    assert dataset.input_shape == (8, 8, 1)


def test_a_folder_of_camera_images(image_folder):
    dataset = load_dataset(str(image_folder))
    assert dataset.class_names == ("bolt", "nut", "washer") and dataset.input_shape == (96, 96, 3)
    assert sum(len(part[0]) for part in (dataset.train, dataset.validation, dataset.test)) == 150
    images, labels = dataset.train
    means = images[:, 20:60, 30:50].mean(axis=(1, 2))
    assert means[labels == 0][:, 0].min() > 100  # the first class is the one with the red square at the top


def test_a_folder_resized_and_grey(image_folder):
    assert load_dataset(str(image_folder), image_size=(32, 48), grayscale=True).input_shape == (32, 48, 1)


def test_sixteen_bit_and_rotated_images(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    deep = Image.fromarray(np.full((6, 9), 40_000, np.uint16))
    exif = Image.Exif()
    exif[274] = 6  # taken with the camera turned
    for number in range(4):
        deep.save(tmp_path / "a" / f"{number}.png")
        Image.new("L", (6, 9), 7).save(tmp_path / "b" / f"{number}.jpg", exif=exif)
    dataset = load_dataset(str(tmp_path))
    assert dataset.input_shape == (6, 9, 1)
    images = np.concatenate([dataset.train[0], dataset.validation[0], dataset.test[0]])
    assert images.max() == 40_000 >> 8


def test_what_is_transparent_is_white(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.new("RGBA", (5, 5), (0, 0, 0, 0)).save(tmp_path / name / f"{number}.png")
    dataset = load_dataset(str(tmp_path), grayscale=True)
    assert dataset.train[0].min() == 255


def test_a_folder_with_train_and_test(tmp_path):
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("L", (9, 7), number).save(folder / f"{number}.png")
    dataset = load_dataset(str(tmp_path))
    assert len(dataset.test[0]) == 4 and len(dataset.train[0]) + len(dataset.validation[0]) == 12
    assert dataset.input_shape == (7, 9, 1)


def break_folder(folder, how):
    if how == "empty class":
        (folder / "zzz").mkdir()
    elif how == "no classes":
        for entry in folder.iterdir():
            entry.rename(folder.parent / entry.name)
    elif how == "unreadable":
        (folder / "nut" / "99.png").write_bytes(b"not an image")
    elif how == "truncated":
        whole = (folder / "nut" / "01.png").read_bytes()
        (folder / "nut" / "99.png").write_bytes(whole[: len(whole) // 2])
    elif how == "32 bits":
        Image.new("F", (96, 96)).save(folder / "nut" / "99.tif")
    elif how == "test with another class":
        for name in ("train/a", "train/b", "test/a", "test/c"):
            (folder / name).mkdir(parents=True)
        for entry in ("bolt", "nut", "washer"):
            (folder / entry).rename(folder.parent / entry)
    elif how == "another size":
        Image.new("RGB", (64, 96)).save(folder / "nut" / "99.png")
    elif how == "one class":
        for entry in ("nut", "washer"):
            (folder / entry).rename(folder.parent / entry)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty class", "zzz holds no images"),
        ("no classes", "no sub-folders"),
        ("unreadable", "99.png"),
        ("truncated", "99.png"),
        ("another size", "--image_size"),
        ("32 bits", "99.tif.*32 bits"),
        ("test with another class", "lacks: c"),
        ("one class", "one class only"),
    ],
)
def test_a_bad_folder_is_refused(image_folder, how, message):
    break_folder(image_folder, how)
    with pytest.raises(InputError, match=message):
        load_dataset(str(image_folder))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_test": None}, "lacks y_test"),
        ({"y_train": np.arange(40) % 2 / 2}, "integers: y_train.*float64"),
        ({"y_train": np.array([object()] * 40)}, "Python objects"),
        ({"y_train": np.zeros(40, int), "y_test": np.zeros(10, int)}, "one class only"),
        ({"y_train": np.arange(39) % 2}, "40 images, so y_train.*(39,)"),
        ({"x_train": np.full((40, 8, 8), -1, np.float32)}, "uint8.*float32"),
        ({"x_test": np.zeros((10, 9, 9), np.uint8)}, "differ in shape"),
        ({"x_test": np.zeros((0, 8, 8), np.uint8), "y_test": np.zeros(0, int)}, "0 test images"),
    ],
)
def test_a_bad_npz_is_refused(npz, changed, message):
    with pytest.raises(InputError, match=message):
        load_dataset(str(npz(**changed)))


def test_a_damaged_or_missing_npz_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_dataset(str(tmp_path / "none.npz"))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(InputError, match=r"bad\.npz"):
        load_dataset(str(tmp_path / "bad.npz"))


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="no_such_set"):
        load_dataset("no_such_set")
    for path in (str(tmp_path / "nowhere"), "path/to/images", "path/images", "images/", "c:\\images"):
        with pytest.raises(InputError, match="no such folder"):
            load_dataset(path)
    for name in ("", 5, None, "x" * 5000, "/" + "x" * 5000):
        with pytest.raises(InputError, match=r"must be a name or a path|cannot open xx|cannot open /xx"):
            load_dataset(name)
    (tmp_path / "images.zip").write_bytes(b"")
    with pytest.raises(InputError, match="neither a folder of images nor an"):
        load_dataset(tmp_path / "images.zip")


def test_a_folder_called_as_a_known_set_is_reported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.warns(UserWarning, match="for the folder here give ./digits"):
        assert load_dataset("digits").num_classes == 10


@pytest.mark.parametrize("count", [0, 40])
def test_a_validation_split_of_nothing_or_everything_is_refused(npz, count):
    with pytest.raises(InputError, match=f"got {count}"):
        load_dataset(str(npz()), validation_images=count)


def test_svhn_loads_through_tensorflow_datasets(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=120):
        dataset = load_dataset("svhn", data_dir=str(tmp_path))
    assert dataset.input_shape == (32, 32, 3) and dataset.num_classes <= 10
    assert dataset.train[0].dtype == np.uint8 and len(dataset.test[0]) == 120


def test_emnist_letters_are_numbered_from_0_named_and_upright(real_data_dir):
    dataset = load_dataset("emnist", data_dir=real_data_dir)
    assert dataset.class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert set(np.unique(dataset.train[1])) == set(range(26))
    assert len(dataset.train[0]) + len(dataset.validation[0]) == 124_800 and len(dataset.test[0]) == 20_800
    mean_l = dataset.test[0][dataset.test[1] == 11].mean(axis=0)[..., 0]
    profile = mean_l.sum(axis=1), mean_l.sum(axis=0)  # an upright L or l spreads further down than across
    spread = [np.sqrt(np.average((np.arange(28) - 13.5) ** 2, weights=weights)) for weights in profile]
    assert spread[0] > 1.3 * spread[1]


def test_mnist_is_whole(real_data_dir):
    dataset = load_dataset("mnist", data_dir=real_data_dir)
    assert [len(part[0]) for part in (dataset.train, dataset.validation, dataset.test)] == [50_000, 10_000, 10_000]
    assert dataset.class_names == tuple("0123456789")


def test_without_a_network_nothing_is_tried(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr("odn_keras.data.tfds._online", lambda: False)
    with pytest.raises(InputError, match=r"mnist.*no network"):
        load_dataset("mnist", data_dir=str(tmp_path / "tfds"))
    assert not (tmp_path / "tfds").exists()


def test_a_failed_download_is_refused_in_one_line(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr("odn_keras.data.tfds._online", lambda: True)

    def no_network(*args, **kwargs):
        raise ConnectionError("no route to host\nand more lines")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(InputError, match=r"mnist.*could not be downloaded \(no route to host\)"):
        load_dataset("mnist", data_dir=str(tmp_path))
