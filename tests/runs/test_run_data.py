"""A run knows its data again, whatever happens to them between two commands."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, RunOptions, export, run, train
from odn_keras.runs.options import DataOptions
from odn_keras.runs.run_data import data_options, load_by_options, load_data, record_of, teacher_record
from odn_keras.runs.run_folder import RunFolder

pytestmark = pytest.mark.one_backend

TINY = {"width": 2, "max_depth": 1, "epochs": 1, "batch_size": 32, "target_accuracy": 0.01}


@pytest.fixture
def images(tmp_path):
    """A folder of three classes of fifty 8x8 images each."""
    rng = np.random.default_rng(0)
    for name in ("zero", "one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(50):
            pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


@pytest.fixture
def trained(images):
    """What a run on them keeps."""
    options = DataOptions(dataset=images)
    return json.loads(
        json.dumps({"options": asdict(RunOptions(dataset=images)), **record_of(load_by_options(options), options)})
    )


def loaded(trained, **given):
    return load_data(trained, data_options(trained, given), "runs/x")


def add_an_image(images):
    shutil.copy(images / "one" / "0.png", images / "one" / "another.png")


def rename_a_class(images):
    (images / "zero").rename(images / "null")


def replace_an_image(images):
    Image.new("L", (8, 8)).save(images / "two" / "0.png")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_an_image, "1 image more in 'one'"),
        (rename_a_class, "class 'zero' is gone and class 'null' is new"),
        (replace_an_image, "in 'two'"),
    ],
)
def test_changed_data_are_refused_in_one_line(trained, images, change, words):
    loaded(trained)
    change(images)
    with pytest.raises(InputError, match=f"^the data of runs/x are not those it was trained on: .*{words}") as refused:
        loaded(trained)
    assert "\n" not in str(refused.value)


def test_the_same_data_elsewhere_resume_whatever_they_are_called(trained, images, tmp_path, monkeypatch):
    before = loaded(trained)
    images.rename(tmp_path / "photos")
    (tmp_path / "photos" / "one" / "0.png").rename(tmp_path / "photos" / "one" / "renamed.png")
    after = loaded(trained, dataset=str(tmp_path / "photos"))
    assert after.class_names == before.class_names
    for split in ("train", "validation", "test"):
        for labels, theirs in (
            (getattr(before, split)[1], getattr(after, split)[1]),
            (getattr(before, split)[0], getattr(after, split)[0]),
        ):
            np.testing.assert_array_equal(np.sort(labels, axis=0), np.sort(theirs, axis=0))


def test_a_relative_path_is_found_from_another_folder(images, tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    options = DataOptions(dataset="images")
    record = {"options": asdict(RunOptions(dataset="images")), **record_of(load_by_options(options), options)}
    assert data_options(record, {}).dataset == "images"
    (tmp_path / "elsewhere" / "images" / "other").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert data_options(record, {}).dataset == str(images)
    assert load_data(record, data_options(record, {}), "runs/x").class_names == ("one", "two", "zero")


def test_a_relative_data_dir_is_found_from_another_folder(tmp_path, monkeypatch):
    """Else TFDS would download the set once more, into the folder where the user happens to be."""
    (tmp_path / "tfds").mkdir()
    monkeypatch.chdir(tmp_path)
    options = RunOptions(dataset="digits", data_dir="tfds")
    record = {"options": asdict(options), **record_of(load_by_options(options), options)}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert data_options(record, {}).data_dir == str(tmp_path / "tfds")
    assert data_options(record, {"data_dir": "other"}).data_dir == "other"


def test_a_teacher_is_known_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.keras").write_bytes(b"weights")
    record = teacher_record("teacher.keras")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert teacher_record("teacher.keras", record) == record
    with pytest.raises(InputError, match=r"no such file: .*elsewhere/teacher.keras"):
        teacher_record("teacher.keras")
    (tmp_path / "teacher.keras").write_bytes(b"others")
    with pytest.raises(InputError, match="is not the one that the run was begun with"):
        teacher_record("teacher.keras", record)


def test_a_run_resumes_with_its_own_teacher_only(tmp_path, run_command):
    out, path = tmp_path / "run", tmp_path / "teacher.keras"
    path.write_bytes(b"of the run")
    options = RunOptions(teacher=str(path), **TINY)
    with RunFolder(out).claimed(options, "float32", teacher_record(str(path)), overwrite=False, resume=False):
        pass
    path.write_bytes(b"of another")
    status, _, error = run_command(train, "--resume", f"--out={out}")
    assert status == 2 and error.count("\n") == 1 and "is not the one that the run was begun with" in error


def test_a_teacher_that_overwriting_would_remove_is_refused(tmp_path, run_command):
    out = tmp_path / "run"
    out.mkdir()
    (out / "model.keras").write_bytes(b"the teacher")
    status, _, error = run_command(train, f"--out={out}", f"--teacher={out / 'model.keras'}", "--overwrite")
    assert status == 2 and "--overwrite would remove the teacher" in error and (out / "model.keras").exists()


def test_data_that_are_gone_are_not_asked_of_tfds(trained, images, tmp_path):
    """Of the name mnist it would download another set."""
    images.rename(tmp_path / "photos")
    with pytest.raises(InputError, match=f"the data of the run are no longer in {images}: say with --dataset"):
        loaded(trained)
    assert loaded(trained, dataset=str(tmp_path / "photos")).num_classes == 3


def test_options_of_the_data_are_those_of_the_run(trained):
    with pytest.raises(InputError, match="the run has --image_size=None, not 4: leave --image_size out"):
        data_options(trained, {"image_size": 4})
    assert data_options(trained, {"in_memory": True}).in_memory


def test_a_run_without_a_record_resumes_only_where_data_never_change(trained):
    old = {"options": trained["options"]}
    with pytest.raises(InputError, match=r"kept no record of its data.*train again"):
        loaded(old)
    with pytest.warns(UserWarning, match="kept no record of its data: digits is taken to be the same"):
        loaded({"options": {"dataset": "digits"}})


def test_a_run_is_resumed_and_exported_on_its_own_data_only(trained, images, tmp_path, run_command):
    out = tmp_path / "run"
    options = RunOptions(dataset=images, **TINY)
    record = {name: trained[name] for name in ("data", "dataset_path")}
    with RunFolder(out).claimed(options, "float32", record, overwrite=False, resume=False):
        pass
    add_an_image(images)
    status, _, error = run_command(train, "--resume", f"--out={out}")
    assert status == 2 and error.count("\n") == 1 and "1 image more in 'one'" in error
    (images / "one" / "another.png").unlink()
    images.rename(tmp_path / "photos")
    status, _, error = run_command(train, "--resume", f"--out={out}", f"--dataset={tmp_path / 'photos'}")
    assert (status, error) == (0, "")
    report = json.loads((out / "report.json").read_text())
    assert report["data"] == trained["data"] and report["dataset_path"] == str(tmp_path / "photos")

    rename_a_class(tmp_path / "photos")
    exporting = f"--run={out}", "--targets=", f"--out={tmp_path / 'exported'}"
    status, _, error = run_command(export, *exporting)
    assert status == 2 and "class 'zero' is gone" in error and not (tmp_path / "exported").exists()
    (tmp_path / "photos" / "null").rename(tmp_path / "photos" / "zero")
    assert run_command(export, *exporting)[0] == 0
    assert (tmp_path / "exported" / "labels.txt").read_text().split() == ["one", "two", "zero"]


def test_a_run_never_lies_within_its_dataset(images, monkeypatch, run_command):
    monkeypatch.chdir(images)
    tiny = [f"--{name}={value}" for name, value in TINY.items()]
    for arguments in (["--dataset=."], [f"--dataset={images}", f"--out={images / 'run'}"]):
        status, _, error = run_command(train, *arguments, *tiny)
        assert status == 2 and "must not lie within the dataset" in error
    assert sorted(path.name for path in images.iterdir()) == ["one", "two", "zero"]
    with pytest.raises(InputError, match="must not lie within"):
        run(RunOptions(dataset=images, **TINY), images / "run")
