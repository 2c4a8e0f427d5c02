"""The command of the device, here and in an environment that has nothing but what a device has."""

import os
import pathlib
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from odn_keras import LiteRTClassifier, classify
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.deploy.tflite_file.reject_metadata import Reject, write_reject

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "tflite_models" / "digits.tflite"


@pytest.fixture(scope="module")
def images(digits, tmp_path_factory):
    """Ten test images as PNG files, and the class that LiteRT gives each."""
    folder = tmp_path_factory.mktemp("images")
    pixels = digits.test[0][:10]
    files = [folder / f"{number}.png" for number in range(len(pixels))]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    return files, LiteRTClassifier(MODEL).predict(pixels).argmax(axis=-1)


def test_images_are_classified(images, capsys):
    files, expected = images
    assert classify.main([str(MODEL), *map(str, files)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(file) for file in files]
    assert [int(line.split("\t")[1].split()[0]) for line in lines] == expected.tolist()


def test_labels_come_from_the_flag_the_metadata_or_the_file_beside(images, tmp_path, capsys):
    files, expected = images

    def first_label(*arguments):
        assert classify.main([*map(str, arguments), str(files[0])]) == 0
        return capsys.readouterr().out.split("\t")[1].rsplit(" ", 1)[0]

    model = tmp_path / "model.tflite"
    model.write_bytes(MODEL.read_bytes())
    assert first_label(model) == str(expected[0])
    names = [f"the {number}" for number in range(10)]
    (tmp_path / "labels.txt").write_text("\n".join(names))
    assert first_label(model) == names[expected[0]]
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("labels.txt", "\n".join(reversed(names)))
    assert first_label(model) == names[9 - expected[0]]
    assert first_label("--labels", tmp_path / "labels.txt", model) == names[expected[0]]


def test_answers_that_the_file_withholds_are_marked(images, tmp_path, capsys):
    files, expected = images
    model = tmp_path / "model.tflite"
    model.write_bytes(MODEL.read_bytes())
    write_reject(model, Reject(255 / 256, 0.99))
    confidences = LiteRTClassifier(MODEL).predict(np.stack([np.asarray(Image.open(file))[..., None] for file in files]))
    withheld = confidences.max(axis=-1) < 255 / 256
    assert 0 < withheld.sum() < len(files)
    assert classify.main([str(model), *map(str, files)]) == 0
    rows = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()]
    assert [row[0] == "none of these" for row in rows] == withheld.tolist()
    assert [int(row[-1].split()[0]) for row in rows] == expected.tolist()


def test_a_photo_of_any_size_and_the_most_probable_classes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (50, 70, 3)).astype(np.uint8)).save(tmp_path / "photo.jpg")
    assert classify.main(["--top=3", str(MODEL), str(tmp_path / "photo.jpg")]) == 0
    probabilities = [float(cell.split()[-1].rstrip("%")) for cell in capsys.readouterr().out.split("\t")[1:]]
    assert len(probabilities) == 3 and probabilities == sorted(probabilities, reverse=True)


@pytest.mark.parametrize(
    "wrong", ["no model", "no image", "labels", "top", "no number", "no arguments", "missing", "cut"]
)
def test_bad_input_is_one_line(images, tmp_path, capsys, wrong):
    files, _ = images
    broken = tmp_path / "broken"
    broken.write_bytes(b"not what it says")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(MODEL.with_name("digits_rgb.tflite").read_bytes()[:-100])  # the labels are the last of it
    arguments = {
        "no model": [broken, files[0]],
        "no image": [MODEL, broken],
        "labels": ["--labels", broken, MODEL, files[0]],
        "top": ["--top=0", MODEL, files[0]],
        "cut": [cut, files[0]],
        "no number": ["--top=many", MODEL, files[0]],
        "no arguments": [],
        "missing": [tmp_path / "none.tflite", files[0]],
    }[wrong]
    assert classify.main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def heed_interrupts():
    """What is started in the background, as these tests may be, has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_interrupts_and_closed_pipes_are_no_errors(images):
    files, _ = images
    command = [sys.executable, "-m", "odn_keras.classify", MODEL, *files * 1000]
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, "")

    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert (process.returncode, error) == (-signal.SIGINT, "")


def test_on_a_device_three_packages_are_enough(images, tmp_path):
    files, expected = images
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "device"], check=True)
    python = tmp_path / "device" / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "tflite-runtime==2.14.0", "numpy<2", "pillow"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"pip cannot install tflite-runtime here: {installed.stderr.strip().splitlines()[-1]}")
    result = subprocess.run(
        [python, "-m", "odn_keras.classify", MODEL, *files],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(line.split("\t")[1].split()[0]) for line in result.stdout.splitlines()] == expected.tolist()


def cut_off_softmax(path):
    graph = Graph(MODEL.read_bytes())
    (logits,) = graph.reads(graph.maker(graph.outputs[0]))
    path.write_bytes(graph.cut(graph.ancestors(logits), graph.inputs[0], [logits]))
    return path


def test_outputs_that_are_no_probabilities_are_plain_numbers(images, tmp_path, capsys):
    files, expected = images
    model = cut_off_softmax(tmp_path / "logits.tflite")
    assert classify.main(["--top=10", str(model), str(files[0])]) == 0
    printed = capsys.readouterr().out
    numbers = [float(cell.split()[1]) for cell in printed.split("\t")[1:]]
    assert "%" not in printed and min(numbers) < 0 and max(numbers) > 1
    assert int(printed.split("\t")[1].split()[0]) == expected[0]


def test_a_bad_image_does_not_end_it(images, tmp_path, capsys):
    files, _ = images
    assert classify.main([str(MODEL), str(files[0]), str(tmp_path), str(tmp_path / "none.png"), str(files[1])]) == 2
    printed, error = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.splitlines()] == [str(files[0]), str(files[1])]
    assert error.count("\n") == error.count("error: ") == 2 and "is a folder" in error


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii"])
def test_every_name_and_label_is_printed_on_one_line(images, tmp_path, encoding):
    files, _ = images
    strange = tmp_path / "caf\udce9\n.png"
    strange.write_bytes(files[0].read_bytes())
    (tmp_path / "labels.txt").write_text("".join(f"猫\t{number}\x1b[31m\n" for number in range(10)))
    result = subprocess.run(
        [sys.executable, "-m", "odn_keras.classify", f"--labels={tmp_path / 'labels.txt'}", MODEL, strange, files[1]],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert result.stderr == b"" and len(lines) == 2 and all(line.count(b"\t") == 1 for line in lines)
    assert rb"caf\udce9\n.png" in lines[0] and b"\x1b" not in result.stdout


def test_home_is_where_a_tilde_says(images, tmp_path, monkeypatch, capsys):
    files, _ = images
    monkeypatch.setenv("HOME", str(files[0].parent))
    labels = files[0].parent / "names.txt"
    labels.write_text("one\n" * 10)
    assert classify.main(["--labels=~/names.txt", str(MODEL), "~/0.png"]) == 0
    assert capsys.readouterr().out.startswith("~/0.png\tone ")


def test_answers_that_cannot_be_written_are_one_line(images):
    files, _ = images
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "odn_keras.classify", MODEL, files[0]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (result.returncode, result.stderr) == (2, "error: cannot write the answers (No space left on device)\n")
