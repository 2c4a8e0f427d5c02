"""Data that somebody prepared badly, or on purpose: always one line, quickly, and nothing happens."""

import io
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from odn_keras import InputError, load_dataset
from odn_keras.data import disk_images
from odn_keras.runs.run_files import RUN_FILES


@pytest.fixture
def folder(tmp_path):
    """Two classes of four small images."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def refused(name, match, **arguments):
    with warnings.catch_warnings(), pytest.raises(InputError, match=match) as caught:
        warnings.simplefilter("error")
        load_dataset(str(name), **arguments)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def png_header(width, height):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def truncated_jpeg():
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "JPEG")
    return whole.getvalue()[:500]


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("bomb.png", png_header(60_000, 60_000), r"bomb\.png.*3600000000 pixels"),
        ("smaller_bomb.png", png_header(12_000, 12_000), r"smaller_bomb\.png.*144000000 pixels"),
        ("empty.png", b"", r"empty\.png"),
        ("program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n", r"program\.png"),
        ("text.png", b"not an image, but text\n" * 20, r"text\.png"),
        ("cut.jpg", truncated_jpeg(), r"cut\.jpg.*truncated"),
    ],
)
@pytest.mark.parametrize("arguments", [{"image_size": 8}, {"image_size": (8, 8), "in_memory": False}])
def test_a_bad_image_is_refused_by_name(folder, name, content, match, arguments):
    (folder / "b" / name).write_bytes(content)
    refused(folder, match, **arguments)


def test_what_is_no_regular_file_is_never_opened(folder):
    strange = folder / "a" / "strange.png"
    os.mkfifo(strange)
    refused(folder, r"strange\.png is no regular file")
    for target in ("/dev/zero", "nowhere", "strange.png"):
        strange.unlink()
        strange.symlink_to(target)
        refused(folder, r"strange\.png is no regular file")


def test_a_class_folder_that_is_a_dead_or_circular_link_is_refused(folder):
    (folder / "c").symlink_to("d")
    (folder / "d").symlink_to("c")
    refused(folder, "c is a link that leads nowhere or in circles")


def test_a_class_folder_that_contains_itself_is_refused(folder):
    (folder / "c").mkdir()
    (folder / "c" / "c").symlink_to(folder / "c")
    refused(folder, "c is a link that leads nowhere or in circles")


def test_what_must_not_be_read_is_refused(folder):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "a" / "0.png").chmod(0)
    refused(folder, r"0\.png.*Permission")
    (folder / "a").chmod(0)
    refused(folder, "cannot read the folder")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("new\nline", "control or undecodable"),
        ("\x1b[2J", "control or undecodable"),
        ("line\u2028separator", "control or undecodable"),
        (os.fsdecode(b"latin-1 \xe9"), "control or undecodable"),
        ("   ", "is empty"),
        ("a ", "looks the same as 'a'"),
        ("\u00e9", "looks the same"),
    ],
)
def test_class_folders_whose_names_cannot_be_told_apart_or_printed_are_refused(folder, name, match):
    (folder / "e\u0301").mkdir()
    Image.new("L", (8, 8)).save(folder / "e\u0301" / "0.png")
    (folder / name).mkdir()
    Image.new("L", (8, 8)).save(folder / name / "0.png")
    refused(folder, match)


def test_class_folders_of_any_other_name_are_text_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["$(touch evil)", "a;rm -rf ~", "a\\..\\..\\evil", "caf\u00e9 \u732b"]
    for name in names:
        pathlib.Path("data", name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), number).save(pathlib.Path("data", name, f"{number}.png"))
    assert load_dataset("data", in_memory=False, spool_dir=".").class_names == tuple(names)
    assert os.listdir() == ["data"] and sorted(os.listdir("data")) == names


def test_class_names_reach_labels_txt_as_utf_8_in_any_locale_and_no_file_is_called_so(tmp_path, npz):
    names = ["$(touch evil)", "a;rm -rf ~", "caf\u00e9 \u732b"]
    images, labels = np.random.default_rng(0).integers(0, 256, (150, 8, 8)).astype(np.uint8), np.arange(150) % 3
    path = npz(x_train=images, y_train=labels, y_test=np.arange(10) % 3, class_names=np.array(names))
    subprocess.run(
        [
            sys.executable, "-m", "odn_keras.train", f"--dataset={path}", "--out=run", "--noin_memory", "--width=1",
            "--max_depth=1", "--epochs=2", "--target_accuracy=1", "--batch_size=16",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
            **{"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        }, check=False)  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["data.npz", "run"]
    assert (tmp_path / "run" / "labels.txt").read_text(encoding="utf-8").splitlines() == names
    assert set(os.listdir(tmp_path / "run")) == set(RUN_FILES)


def write_npz(path, members, lies=None):
    """Writes raw members, each with the size that the file's directory is to give for it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in members.items():
            archive.writestr(f"{key}.npy", content)
            archive.filelist[-1].file_size = (lies or {}).get(key, len(content))
    return path


def npy(array, shape=None):
    """An array as in an .npy file, whose header may declare another shape."""
    file = io.BytesIO()
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape if shape is None else shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + array.tobytes()


X, Y = np.zeros((10, 8, 8), np.uint8), np.arange(10) % 2
GOOD = {"x_train": npy(X), "y_train": npy(Y), "x_test": npy(X), "y_test": npy(Y)}


@pytest.mark.parametrize(
    ("key", "content", "match"),
    [
        ("x_train", npy(X, (10**6, 1000, 1000)), "x_train.*damaged.*cannot take 640 bytes"),
        ("x_train", npy(X, (-1, 8, 8)), "x_train.*damaged"),
        ("x_train", npy(X, (10, -8, -8)), "x_train.*damaged"),
        ("x_train", npy(X, (2**70, 0, 8)), "x_train"),
        ("x_train", npy(X[:, :0]), "x_train"),
        ("x_train", npy(X)[:-1], "x_train.*damaged"),
        ("x_train", npy(X) + b"more", "x_train.*damaged"),
        ("x_train", npy(X, ()), "x_train.*damaged"),
        ("x_train", b"", "not a readable"),
        ("x_train", b"garbage" * 1000, "not a readable"),
        ("x_train", b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, "not a readable"),
        ("x_train", b"\x93NUMPY\x09\x00" + npy(X)[8:], "not a readable"),
        ("y_train", npy(Y, (10**12,)), "y_train.*damaged"),
        ("y_train", npy(Y, (2, 5)), r"y_train must be of shape \(10,\)"),
    ],
)
def test_an_npz_that_contradicts_itself_is_refused(tmp_path, key, content, match):
    refused(write_npz(tmp_path / "bad.npz", {**GOOD, key: content}), match)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_npz_whose_directory_lies_too_is_refused_without_allocating_what_it_says(tmp_path, in_memory):
    header = npy(X, (10**6, 10, 100))
    labels = npy(np.zeros(10**6, np.int64))
    lie = len(header) - X.nbytes + 10**9
    members = {**GOOD, "x_train": header, "y_train": labels, "x_test": npy(np.zeros((10, 10, 100), np.uint8))}
    path = write_npz(tmp_path / "lies.npz", members, {"x_train": lie})
    tracemalloc.start()
    refused(path, r"x_train.*damaged: \d+ bytes cannot hold 1000000128", in_memory=in_memory)
    assert tracemalloc.get_traced_memory()[1] < 10**8
    tracemalloc.stop()


def test_a_zip_bomb_is_refused_by_the_size_it_would_have(tmp_path, monkeypatch):
    zeros = np.zeros((10, 1000, 5000), np.uint8)
    path = write_npz(tmp_path / "bomb.npz", {**GOOD, "x_train": npy(zeros), "x_test": npy(zeros)})
    assert path.stat().st_size < 10**6
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(0, 0, 5 * 10**7))
    refused(path, r"0\.1 GB on disk", in_memory=False)
    monkeypatch.setattr(disk_images, "available_memory", lambda: 5 * 10**7)
    refused(path, r"0\.1 GB of memory", in_memory=True)


def test_an_npz_with_flipped_or_missing_bytes_is_refused(npz):
    path = npz()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 3] ^= 255  # among the training images
    path.write_bytes(whole)
    refused(path, "not a readable .npz file.*CRC")
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "not a readable .npz file")


def test_a_pipe_called_npz_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "no such file")


def test_an_npz_may_name_its_classes(npz):
    assert load_dataset(str(npz(class_names=np.array(["caf\u00e9", "\u732b"])))).class_names == ("caf\u00e9", "\u732b")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["a", "b", "c"], "3 class_names.*0 to 2 and all occur: 2 has no images"),
        (["a"], "1 has no name"),
        ([["a", "b"]], r"shape \(1, 2\)"),
        ([0, 1], "must be str"),
        ([b"a", b"b"], "must be str"),
        ([], "must be str"),
        (["", "b"], "is empty"),
        (["a", "a\n"], "control or undecodable"),
        (["a", "b" * 201], "at most 200"),
        (["a", "../../etc/passwd"], "must not be paths"),
        (["a", ".."], "must not be paths"),
        (["a", "c:\\evil"], "must not be paths"),
        (["\u00e9", "e\u0301"], "looks the same"),
    ],
)
def test_bad_class_names_in_an_npz_are_refused(npz, names, match):
    refused(npz(class_names=np.array(names)), match)


@pytest.fixture
def mnist(real_data_dir, tmp_path):
    """A copy of MNIST to damage."""
    pytest.importorskip("tensorflow_datasets")
    shutil.copytree(pathlib.Path(real_data_dir, "mnist"), tmp_path / "mnist", copy_function=shutil.copyfile)
    (prepared,) = (tmp_path / "mnist").iterdir()
    prepared.chmod(0o755)
    return prepared


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "gone"])
def test_damaged_records_of_a_tfds_set_are_refused(mnist, tmp_path, how):
    (records,) = mnist.glob("mnist-train*")
    content = bytearray(records.read_bytes())
    content[100_000] ^= 255
    records.write_bytes({"cut": content[:100_000], "flipped": content}.get(how, b""))
    if how == "gone":
        records.unlink()
    refused("mnist", "'mnist'.*is damaged", data_dir=str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b'{"splits": "many"}'])
def test_damaged_metadata_of_a_tfds_set_is_refused(mnist, tmp_path, content):
    (mnist / "dataset_info.json").write_bytes(content)
    refused("mnist", "'mnist' in .*cannot be opened", data_dir=str(tmp_path))
