"""Folders as people have them: other files, odd layouts, mixed kinds of images, few images."""

import sys

import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, load_dataset
from odn_keras.utils.progress import Progress


def save(path, mode="L", size=(8, 8), exif=b""):
    """An image of noise that depends on the class and the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"L": (), "RGB": (3,)}[mode]
    rng = np.random.default_rng(list("/".join(path.parts[-2:]).encode()))
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], *channels), np.uint8)).save(path, exif=exif)


@pytest.fixture
def folder(tmp_path):
    """Two classes of forty images."""
    for name in ("cat", "dog"):
        for number in range(40):
            save(tmp_path / "pets" / name / f"{number:02}.png")
    return tmp_path / "pets"


def load(folder, **arguments):
    """The dataset, of which every note is a warning."""
    with pytest.warns(UserWarning) as warned:
        dataset = load_dataset(folder, **arguments)
    assert tuple(str(warning.message) for warning in warned) == dataset.notes
    assert not any("\n" in note for note in dataset.notes)
    return dataset


def refusal(folder, **arguments):
    with pytest.raises(InputError) as refused:
        load_dataset(folder, **arguments)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500
    return str(refused.value)


def counts(dataset):
    return {
        split: np.bincount(getattr(dataset, split)[1], minlength=dataset.num_classes).tolist()
        for split in ("train", "validation", "test")
    }


def test_nothing_is_said_of_a_good_folder(folder, recwarn):
    assert load_dataset(folder).notes == ()
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def test_a_class_of_one_image_trains_and_is_reported_by_name(folder):
    save(folder / "eel" / "only.png")
    dataset = load(folder)
    assert dataset.notes == ("class 'eel' has no image to validate on or test on",)
    assert [counts(dataset)[split][2] for split in ("train", "validation", "test")] == [1, 0, 0]
    for shares in counts(dataset).values():
        assert min(shares[:2]) >= 2


def test_few_images_are_reported(tmp_path):
    for number in range(3):
        save(tmp_path / "pets" / "cat" / f"{number}.png")
    save(tmp_path / "pets" / "dog" / "0.png")
    dataset = load(tmp_path / "pets")
    assert dataset.notes == (
        "class 'dog' has no image to validate on or test on",
        "few images: 2 to train on, 1 to validate on, 1 to test on; an accuracy on 1 moves in steps of 100 points",
    )


def test_too_few_images_are_refused(tmp_path):
    for name in ("cat", "dog"):
        save(tmp_path / "pets" / name / "0.png")
    assert "has 2 train, 0 validation, 0 test images: too few; 3 images of a class" in refusal(tmp_path / "pets")


def test_images_in_deeper_folders_are_read(folder):
    (folder / "cat" / "siamese" / "old").mkdir(parents=True)
    for number in range(20):
        (folder / "cat" / f"{number:02}.png").rename(folder / "cat" / "siamese" / "old" / f"{number:02}.png")
    dataset = load(folder)
    assert dataset.notes == ("20 images in deeper folders read too: cat/siamese/old",)
    assert sum(shares[0] for shares in counts(dataset).values()) == 40


def test_classes_one_folder_deeper_are_pointed_at(folder):
    (folder.parent / "outer").mkdir()
    folder.rename(folder.parent / "outer" / "pets")
    assert "if the folders in " in refusal(folder.parent / "outer")


def test_what_is_no_image_is_left_out_and_counted(folder):
    for name in ("cat/Thumbs.db", "cat/desktop.ini", "dog/IMG_1.HEIC", "dog/clip.mov"):
        (folder / name).write_bytes(b"\0" * 2000)
    (folder / "dog" / ".DS_Store").write_bytes(b"Bud1")
    (folder / "__MACOSX" / "cat").mkdir(parents=True)
    (folder / "__MACOSX" / "cat" / "._00.png").write_bytes(b"resource fork")
    save(folder / "cat" / "@eaDir" / "00.png" / "SYNOPHOTO_THUMB_S.jpg")
    (note,) = load(folder).notes
    assert note.startswith("4 files in ") and "cat/Thumbs.db, cat/desktop.ini, dog/IMG_1.HEIC and 1 more" in note
    assert "convert HEIC" in note


def test_a_class_of_nothing_that_can_be_read_names_it(folder):
    (folder / "eel").mkdir()
    (folder / "eel" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    assert "eel holds no images that can be read here, but eel/IMG_1.HEIC" in refusal(folder)


def test_images_beside_the_class_folders_are_reported(folder):
    save(folder / "preview.jpg")
    assert load(folder).notes == ("1 image left out, lying in no class folder: preview.jpg",)


def test_an_image_without_an_ending_is_read(folder):
    (folder / "cat" / "00.png").rename(folder / "cat" / "00")
    assert sum(map(sum, counts(load_dataset(folder)).values())) == 80


def test_all_bad_images_are_named_at_once(folder):
    whole = (folder / "cat" / "00.png").read_bytes()
    for number in range(5):
        (folder / "dog" / f"bad{number}.png").write_bytes(whole[: len(whole) // 2] if number else b"")
    (folder / "cat" / "bad.jpg").write_bytes(b"<html>not found</html>")
    line = refusal(folder)
    assert "6 images in " in line and "and 3 more" in line
    assert line.index("bad.jpg") < line.index("dog/bad0.png")


@pytest.mark.parametrize(
    ("grey", "said"),
    [
        (["cat/00.png"], "1 grey image read as colour: cat/00.png"),
        (["cat/00.png", "cat/01.png", "dog/00.png", "dog/01.png"], "4 grey images read as colour: cat/00.png, "),
    ],
)
def test_grey_images_among_colour_ones_are_converted_and_counted(tmp_path, grey, said):
    for name in ("cat", "dog"):
        for number in range(150):
            file = f"{name}/{number:02}.png"
            save(tmp_path / file, "L" if file in grey else "RGB")
    dataset = load(tmp_path)
    assert dataset.input_shape == (8, 8, 3) and dataset.notes[0].startswith(said) and len(dataset.notes) == 1
    assert load_dataset(tmp_path, grayscale=True).input_shape == (8, 8, 1)


def test_one_colour_image_among_grey_ones_makes_all_colour_and_is_named(folder):
    save(folder / "cat" / "colour.png", "RGB")
    dataset = load(folder)
    assert dataset.input_shape == (8, 8, 3)
    assert dataset.notes[0].startswith("80 grey images read as colour, as cat/colour.png has colours: cat/00.png, ")


def test_different_sizes_are_refused_with_their_numbers(folder):
    save(folder / "cat" / "wide.png", size=(12, 8))
    assert "8x8 (80, as cat/00.png), 8x12 (1, as cat/wide.png); give --image_size" in refusal(folder)


def test_photos_taken_upright_are_as_high_as_they_look(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    for name in ("cat", "dog"):
        for number in range(30):
            turned = number % 2
            size, tag = ((12, 8), exif.tobytes()) if turned else ((8, 12), b"")
            save(tmp_path / name / f"{number}.jpg", "RGB", size, tag)
    assert load_dataset(tmp_path).input_shape == (12, 8, 3)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "Validation", "Test"), ("TRAIN", "valid", "test")]
)
def test_three_splits_are_used_as_they_are_given(folder, names, tmp_path):
    root = tmp_path / "splits"
    for split, numbers in zip(names, (range(20), range(20, 30), range(30, 40)), strict=True):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in numbers:
                (folder / name / f"{number:02}.png").rename(root / split / name / f"{number:02}.png")
    assert counts(load_dataset(root)) == {"train": [20, 20], "validation": [10, 10], "test": [10, 10]}
    expected = {np.asarray(Image.open(file)).tobytes() for file in (root / names[1]).rglob("*.png")}
    assert {image.tobytes() for image in load_dataset(root).validation[0]} == expected


def test_validation_images_of_their_own_are_not_drawn_from_training(folder, tmp_path):
    (tmp_path / "val" / "cat").mkdir(parents=True)
    folder.rename(tmp_path / "train")
    assert "val holds no images" in refusal(tmp_path)
    save(tmp_path / "val" / "cat" / "0.png")
    dataset = load(tmp_path)
    assert counts(dataset)["validation"] == [1, 0] and sum(counts(dataset)["test"]) > 2
    assert "class 'dog' has no image to validate on" in dataset.notes
    assert f"{tmp_path} has no test folder: 15 % of the training images become the test split" in dataset.notes
    assert "has validation images of its own" in refusal(tmp_path, validation_images=5)


def test_the_same_image_in_training_and_test_or_in_two_classes_is_reported(folder, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "test" / name).mkdir(parents=True)
        for number in range(20):
            (tmp_path / "test" / name / f"{number}.png").write_bytes((folder / name / f"{number:02}.png").read_bytes())
    (folder / "cat" / "99.png").write_bytes((folder / "dog" / "30.png").read_bytes())
    folder.rename(tmp_path / "train")
    notes = load(tmp_path).notes
    assert "1 image is in more than one class, as in 'cat' and 'dog'" in notes
    assert any(note.endswith("test images are among the training images as well") for note in notes)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["train/cat", "Train/dog"], "two folders of train images"),
        (["val/cat", "test/cat"], "test and val, but no train folder"),
        (["train/cat", "val/cat", "labels"], "train and val folders, so ['labels'] cannot be classes"),
        (["train/cat", "test/cat", "test/eel"], "lacks: eel"),
        (["train", "test"], "train has no sub-folders"),
    ],
)
def test_layouts_that_cannot_be_understood_are_refused(tmp_path, folders, said):
    for name in folders:
        save(tmp_path / name / "0.png")
    assert said in refusal(tmp_path)


def test_train_is_a_class_among_others(tmp_path):
    for name in ("train", "plane"):
        for number in range(40):
            save(tmp_path / name / f"{number}.png")
    assert load_dataset(tmp_path).class_names == ("plane", "train")


def test_paths_are_paths_and_know_the_home_folder(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_dataset(folder).class_names == ("cat", "dog")
    dataset = load_dataset("~/pets", in_memory=False, spool_dir="~")
    assert dataset.class_names == ("cat", "dog") and dataset.name == "~/pets"


@pytest.mark.parametrize("size", [4, np.int64(4), (4, 4), [4, 4]])
def test_a_size_is_square_or_height_and_width(folder, size):
    assert load_dataset(folder, image_size=size).input_shape == (4, 4, 1)


@pytest.mark.parametrize("size", [0, -1, "96x", (4,), (4, 0), 4.5, (4, 4, 3)])
def test_a_bad_size_is_refused(folder, size):
    assert "image_size must be pixels" in refusal(folder, image_size=size)


def test_an_interrupt_leaves_nothing_behind(folder, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / "spool").mkdir()
    monkeypatch.setattr("odn_keras.data.folder.read_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(folder, in_memory=False, spool_dir=tmp_path / "spool")
    assert list((tmp_path / "spool").iterdir()) == []


def test_too_little_memory_while_reading_is_one_line(folder, monkeypatch):
    def none_left(*_, **__):
        raise MemoryError

    monkeypatch.setattr("odn_keras.data.images._decode", none_left)
    monkeypatch.setattr("odn_keras.data.folder.read_image", none_left)
    assert "needs more memory than this process can have: in_memory=False" in refusal(folder)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_line_of_a_terminal_that_goes_away(monkeypatch, capsys, terminal):
    monkeypatch.setattr("odn_keras.utils.progress.SILENT_SECONDS", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    with Progress("reading images", 2000) as progress:
        progress.add(1500)
    said = "\r\x1b[Kreading images: 1,500 of 2,000\r\x1b[K"
    assert capsys.readouterr().err == (said if terminal else "")


def test_nothing_is_shown_where_it_is_quick(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    load_dataset(folder)
    assert capsys.readouterr().err == ""
