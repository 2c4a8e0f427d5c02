"""Images of any shape become images of one, the same way in training, in files and on the device."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, RunOptions, classify, evaluate, export, load_dataset, route, train
from odn_keras.data.images import read_image
from odn_keras.data.resizing import RESIZES, parse_size, write_size
from odn_keras.deploy.tflite_file.resize_metadata import resize_of, write_resize


@pytest.fixture
def wide(tmp_path):
    """A picture of 20x60 pixels whose middle third is white, the left one red and the right one blue."""
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, :20, 0] = image[:, 40:, 2] = 255
    image[:, 20:40] = 255
    Image.fromarray(image).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_stretch_keeps_all_and_changes_the_proportions(wide):
    image = read_image(wide, (30, 30), resize="stretch")
    assert image.shape == (30, 30, 3)
    assert image[15, 2].tolist() == [255, 0, 0] and image[15, 27].tolist() == [0, 0, 255] and image[15, 15].min() == 255


def test_crop_takes_the_middle(wide):
    image = read_image(wide, (30, 30), resize="crop")
    assert image.shape == (30, 30, 3) and image[:, 3:-3].min() == 255


def test_of_a_long_strip_only_the_middle_is_scaled(tmp_path, monkeypatch):
    """Scaled whole, one of 2x60,000 pixels would take gigabytes."""
    strip = np.zeros((2, 1000, 3), np.uint8)
    strip[:, 490:510, 1] = np.linspace(0, 255, 20)
    Image.fromarray(strip).save(tmp_path / "strip.png")
    cut = read_image(tmp_path / "strip.png", (40, 40), resize="crop").astype(int)
    monkeypatch.setattr("odn_keras.data.images.MOST_CUT", 1e9)
    whole = read_image(tmp_path / "strip.png", (40, 40), resize="crop").astype(int)
    assert np.abs(cut - whole).max() <= 2 and whole[..., 1].max() > 100
    monkeypatch.undo()
    Image.new("RGB", (60_000, 1)).save(tmp_path / "strip.png")
    assert read_image(tmp_path / "strip.png", (4000, 4000), resize="crop").shape == (4000, 4000, 3)


def test_pad_keeps_all_in_proportion(wide):
    image = read_image(wide, (30, 30), resize="pad")
    assert image.shape == (30, 30, 3) and image[:8].max() == image[-8:].max() == 0
    assert image[15, 2].tolist() == [255, 0, 0] and image[15, 15].min() == 255


def test_height_comes_before_width(wide):
    for resize in RESIZES:
        assert read_image(wide, (12, 7), resize=resize).shape == (12, 7, 3)


@pytest.mark.parametrize("resize", RESIZES)
def test_datasets_of_tfds_are_resized_as_files_are(resize, tmp_path):
    tf = pytest.importorskip("tensorflow")
    from odn_keras.data.tfds import _resized

    y, x = np.mgrid[:40, :90]
    image = np.stack([2 * x, 4 * y, 255 - 2 * x], axis=-1).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    for size in ((24, 24), (16, 40), (60, 20)):
        ours = read_image(tmp_path / "a.png", size, resize=resize).astype(int)
        theirs = _resized(tf.constant(image), size, resize).numpy().astype(int)
        assert theirs.shape == ours.shape
        assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize("size", [0, -1, "x", "96x", "96x64x3", "96 x", (1, 2, 3), 5000, "1e2", 9.5])
def test_sizes_that_cannot_be_are_refused(size):
    with pytest.raises(InputError, match="image_size must be pixels from 1 to 4096, as 96 or 96x64"):
        parse_size(size)
    with pytest.raises(InputError, match="image_size"):
        RunOptions(image_size=size)


def test_a_size_is_the_same_however_it_is_written():
    assert write_size(None) is None and write_size("96X96") == "96" and parse_size([96, 64]) == (96, 64)
    assert RunOptions(image_size=96).image_size == RunOptions(image_size="96").image_size == "96"


def test_resize_without_a_size_is_refused(wide):
    with pytest.raises(InputError, match="give image_size as well"):
        load_dataset(str(wide.parent), resize="pad")
    with pytest.raises(InputError, match="stretch, crop, pad"):
        load_dataset(str(wide.parent), image_size=9, resize="squeeze")


def test_a_file_says_how_and_keeps_what_is_behind_it(tmp_path):
    from odn_keras.deploy.tflite_file.labels import labels_of

    for name in ("digits.tflite", "digits_rgb.tflite"):
        path = tmp_path / name
        shutil.copy(f"tflite_models/{name}", path)
        labels = labels_of(path, 10)
        assert resize_of(path) == "stretch"
        write_resize(path, "pad")
        assert resize_of(path) == "pad" and labels_of(path, 10) == labels


@pytest.mark.trains
def test_a_run_that_pads_is_padded_everywhere(run_command, tmp_path, wide):
    rng = np.random.default_rng(0)
    for name, colour in (("left", 0), ("right", 2)):  # a stripe of red or blue, which a crop to the middle would lose
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(70):
            image = rng.integers(0, 40, (8, 24, 3), dtype=np.uint8)
            image[:, :4, colour] = 255
            Image.fromarray(image).save(tmp_path / "images" / name / f"{number}.png")
    out = tmp_path / "run"
    options = [
        "--image_size=12x16",
        "--resize=pad",
        "--width=4",
        "--depth=2",
        "--exits=1",
        "--batch_size=16",
        "--epochs=2",
    ]
    status, _, error = run_command(
        train, f"--dataset={tmp_path / 'images'}", f"--out={out}", *options, "--cycle_epochs=2", "--target_accuracy=0.1"
    )
    assert status == 0, error
    report = json.loads((out / "report.json").read_text())
    assert report["options"]["resize"] == "pad" and report["images"]["shape"] == [12, 16, 3]
    assert resize_of(out / "model.tflite") == "pad"

    status, printed, _ = run_command(export, f"--run={out}")
    assert status == 0 and "training padded with black a picture of other proportions: do so before" in printed
    assert run_command(route, f"--run={out}", "--max_accuracy_drop=0.5")[0] == 0
    assert resize_of(out / "routed" / "stage1.tflite") == "pad"
    assert "training padded" in (out / "routed" / "routing.h").read_text()
    for name in ("model.tflite", "android.tflite"):
        assert resize_of(out / "export" / name) == "pad"
    assert "padded" in (out / "export" / "model.h").read_text()
    measured = run_command(evaluate, f"--tflite={out / 'model.tflite'}", f"--dataset={tmp_path / 'images'}")
    assert measured[0] == 0 and f"{report['int8_test_accuracy']:.4f}" in measured[1]
    assert (
        "leave --resize out"
        in run_command(
            evaluate, f"--tflite={out / 'model.tflite'}", f"--dataset={tmp_path / 'images'}", "--resize=crop"
        )[2]
    )
    assert classify.main([str(out / "model.tflite"), str(wide)]) == 0
