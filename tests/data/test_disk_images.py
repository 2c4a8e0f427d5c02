import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from odn_keras import InputError, load_dataset
from odn_keras.data import disk_images
from odn_keras.data.augmentation import Augmentation
from odn_keras.data.batches import Batches, EvaluationBatches
from odn_keras.data.disk_images import ImagesOnDisk

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 5, 7, 3)).astype(np.uint8)


@pytest.fixture
def on_disk(tmp_path):
    return disk_images.hold(iter([IMAGES[:20], IMAGES[20:21], IMAGES[21:]]), IMAGES.shape[1:], str(tmp_path))


@pytest.mark.parametrize(
    "index", [3, -1, slice(10, 30, 3), slice(40, None), [7, 7, -2], np.array([], int), np.arange(50) % 2 == 0]
)
def test_images_on_disk_are_indexed_like_an_array(on_disk, index):
    assert (on_disk.shape, on_disk.dtype, len(on_disk)) == (IMAGES.shape, np.uint8, 50)
    np.testing.assert_array_equal(on_disk[index], IMAGES[index])


def test_an_index_beyond_the_end_is_an_error(on_disk):
    with pytest.raises(IndexError):
        on_disk[50]


def test_a_subset_shares_the_file(on_disk, tmp_path):
    half = on_disk.subset(np.arange(0, 50, 2)).subset([3, 1])
    assert half.shape == (2, 5, 7, 3)
    np.testing.assert_array_equal(half[:], IMAGES[[6, 2]])


def test_the_file_has_no_name_and_goes_with_its_last_reader(on_disk, tmp_path):
    descriptor = on_disk._file.fileno()
    assert list(tmp_path.iterdir()) == [] and os.fstat(descriptor).st_size == IMAGES.size
    some = on_disk.subset([1])
    del on_disk
    np.testing.assert_array_equal(some[0], IMAGES[1])


def source(kind, tmp_path, npz, image_folder):
    if kind == "folder":
        return str(image_folder)
    if kind == "npz":
        return str(npz())
    if kind == "compressed npz":
        with np.load(npz()) as arrays:
            np.savez_compressed(tmp_path / "small.npz", **arrays)
        return str(tmp_path / "small.npz")
    if kind == "npz in Fortran order":
        with np.load(npz()) as arrays:
            return str(npz(x_train=np.asfortranarray(arrays["x_train"])))
    return kind


@pytest.mark.parametrize("kind", ["digits", "folder", "npz", "compressed npz", "npz in Fortran order", "svhn"])
def test_every_batch_is_the_same_on_disk_as_in_memory(kind, tmp_path, npz, image_folder, monkeypatch):
    monkeypatch.setattr("odn_keras.data.source.CHUNK_BYTES", 7 * 64)  # the last chunk is no whole one
    name = source(kind, tmp_path, npz, image_folder)

    def load(in_memory):
        if kind != "svhn":
            return load_dataset(name, in_memory=in_memory, validation_images=8, train_images=25)
        tfds = pytest.importorskip("tensorflow_datasets")
        with tfds.testing.mock_data(num_examples=60):
            return load_dataset(name, in_memory=in_memory, image_size=(9, 8), data_dir=str(tmp_path))

    memory, disk = load(True), load(False)
    assert isinstance(disk.train[0], ImagesOnDisk) and isinstance(memory.train[0], np.ndarray)
    assert disk.class_names == memory.class_names and disk.input_shape == memory.input_shape
    for split in ("validation", "test"):
        parts = [EvaluationBatches(getattr(dataset, split), 10, 16) for dataset in (memory, disk)]
        for index in range(len(parts[0])):
            same(parts[0][index], parts[1][index])
    augmentation = Augmentation(shift=1, rotate=10)
    parts = [Batches(dataset.train, 10, 8, seed=1, augmentation=augmentation) for dataset in (memory, disk)]
    for epoch in range(2):
        for part in parts:
            part.seek(epoch)
        for index in range(len(parts[0])):
            same(parts[0][index], parts[1][index])


def same(one, other):
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_images_are_on_disk_where_they_take_more_than_half_of_the_free_memory(monkeypatch):
    size = 1797 * 64
    monkeypatch.setattr(disk_images, "available_memory", lambda: 2 * size)
    assert isinstance(load_dataset("digits").train[0], np.ndarray)
    monkeypatch.setattr(disk_images, "available_memory", lambda: 2 * size - 1)
    assert isinstance(load_dataset("digits").train[0], ImagesOnDisk)
    assert isinstance(load_dataset("digits", in_memory=True).train[0], np.ndarray)


def test_what_does_not_fit_is_refused_before_it_is_read(npz, tmp_path, monkeypatch):
    path = str(npz(x_train=np.zeros((40, 1000, 1000), np.uint8), x_test=np.zeros((10, 1000, 1000), np.uint8)))
    monkeypatch.setattr(disk_images, "available_memory", lambda: 10**6)
    with pytest.raises(InputError, match=r"needs 0.1 GB of memory, 0.0 GB are free"):
        load_dataset(path, in_memory=True)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(InputError, match=f"needs 0.1 GB on disk in {tmp_path}, 0.0 GB are free"):
        load_dataset(path, spool_dir=str(tmp_path))


@pytest.mark.parametrize("how", ["full", "missing"])
def test_a_disk_that_cannot_be_written_is_refused_in_one_line(how, tmp_path, monkeypatch):
    if how == "full":  # by somebody else, after the check
        monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: io.BufferedWriter(io.FileIO("/dev/full", "w")))
    with pytest.raises(InputError, match=r"cannot hold images in .*(No space left|No such file)"):
        load_dataset("digits", in_memory=False, spool_dir=str(tmp_path if how == "full" else tmp_path / "nowhere"))


def test_streaming_takes_no_more_memory_than_a_few_chunks(tmp_path):
    subprocess.run(
        [
            sys.executable, "-m", "benchmarks.stream_memory", "--gigabytes=0.3", "--in_memory_gigabytes=0",
            "--batch_size=16", f"--folder={tmp_path}", f"--out={tmp_path / 'figures.json'}",
        ],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        cwd=pathlib.Path(__file__).parents[2],
        check=True,
    )  # fmt: skip
    rows = json.loads((tmp_path / "figures.json").read_text())["on_disk"]
    assert len(rows) == 11 and max(row["peak_mb"] for row in rows) < 100
    assert list(tmp_path.iterdir()) == [tmp_path / "figures.json"]
