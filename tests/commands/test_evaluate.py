import json
import os
import pathlib
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from odn_keras import LiteRTClassifier, NetworkSpec, build, evaluate, export_tflite

MODELS = pathlib.Path(__file__).parents[2] / "tflite_models"


def test_accuracy_latency_and_size_are_reported_and_written(run_command, tmp_path):
    report = tmp_path / "report.json"
    status, printed, _ = run_command(evaluate, f"--tflite={MODELS / 'digits.tflite'}", f"--report={report}")
    assert status == 0
    measured = json.loads(report.read_text())
    assert measured["images"] == 270 and measured["accuracy"] > 0.97
    assert measured["bytes"] == (MODELS / "digits.tflite").stat().st_size
    assert 0 < measured["median_ms"] <= measured["p95_ms"]
    assert f"{measured['accuracy']:.4f} of 270 test images of digits" in printed


def test_a_report_shows_classes_and_mistakes(run_command, tmp_path):
    out = tmp_path / "report"
    status, printed, _ = run_command(evaluate, f"--tflite={MODELS / 'digits.tflite'}", f"--report={out}")
    assert status == 0 and str(out / "report.html") in printed
    figures, page = json.loads((out / "evaluation.json").read_text()), (out / "report.html").read_text()
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]
    assert 0.97 < figures["scores"]["balanced_accuracy"] < 1 and f"{100 * figures['accuracy']:.1f} % right" in page
    assert "Which classes are confused" in page and "The worst mistakes" in page


def test_what_is_withheld_is_told_for_images_with_and_without_a_class(run_command, digits, tmp_path):
    (tmp_path / "others" / "deeper").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 30, 3)).astype(np.uint8)
    for number, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / "others" / ("deeper" if number % 2 else "") / f"{number}.png")
    out, file = tmp_path / "report", f"--tflite={MODELS / 'digits.tflite'}"
    status, printed, error = run_command(
        evaluate, file, "--reject=0.97", f"--none_of_these={tmp_path / 'others'}", f"--report={out}"
    )
    assert status == 0, error
    reject = json.loads((out / "evaluation.json").read_text())["reject"]
    answers = LiteRTClassifier(MODELS / "digits.tflite").predict(digits.test[0])
    given = answers.max(axis=-1) >= reject["least_confidence"]
    assert reject["test"]["withheld"] == np.sum(~given) and reject["none_of_these"]["images"] == 12
    assert reject["test"]["right"] == np.sum(answers.argmax(axis=-1)[given] == digits.test[1][given])
    assert "promised: 97 % of those given are right" in printed and "images of no class:" in printed
    assert "None of these" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --tflite"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--reject=97"], "as a fraction, 97 % is 0.97"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--reject=0.999"], "takes at least 2,995 validation images"),
        (
            [f"--tflite={MODELS / 'digits.tflite'}", "--none_of_these=parts"],
            "give --reject, or a file exported with it",
        ),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--none_of_these=nowhere"], "no such folder of images: nowhere"),
        (["--tflite=nowhere.tflite"], "no such file"),
        (["--tflite=nowhere.tflite", "--report=nowhere/report.json"], "no folder nowhere"),
        ([f"--tflite={MODELS / 'digits.tflite'}", f"--report={MODELS / 'README.md'}"], "--report must be a folder"),
        ([f"--tflite={MODELS / 'README.md'}"], "not a readable .tflite file"),
        ([f"--tflite={MODELS / 'mnist.tflite'}"], "takes images of (28, 28, 1), digits has (8, 8, 1)"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--dataset=parts"], "has 10 classes, parts has 3"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--runtime=cuda"], "cuda"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--images=0"], "images"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run_command, image_folder, monkeypatch, arguments, message):
    monkeypatch.chdir(image_folder.parent)
    status, _, error = run_command(evaluate, *arguments)
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_it_prints_the_measurement_and_nothing_else(real_data_dir):
    """No greetings of the libraries that read the data."""
    arguments = [f"--tflite={MODELS / 'mnist.tflite'}", "--dataset=mnist", f"--data_dir={real_data_dir}", "--images=10"]
    command = [sys.executable, "-m", "odn_keras.evaluate", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == "" and len(result.stdout.splitlines()) == 3


def test_a_closed_pipe_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "odn_keras.evaluate", f"--tflite={MODELS / 'digits.tflite'}"]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, "")


@pytest.fixture
def photos(digits, tmp_path, monkeypatch):
    """The digits as photos of another size in colour, each class a folder; the names are those of the numbers."""
    for split, (images, labels) in {"train": digits.train, "test": digits.test}.items():
        for number, (image, label) in enumerate(zip(images[:200], labels, strict=False)):
            folder = tmp_path / "photos" / split / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[..., 0]).resize((24, 20)).convert("RGB").save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.mark.parametrize("model", ["digits.tflite", "digits_rgb.tflite"])
def test_photos_become_as_the_file_takes_them(run_command, photos, model):
    status, printed, _ = run_command(evaluate, f"--tflite={MODELS / model}", "--dataset=photos")
    assert status == 0 and float(printed.split("accuracy")[1].split()[0]) > 0.9


def test_an_npz_file_may_be_spelt_in_capitals(run_command, digits, tmp_path):
    arrays = {
        f"{xy}_{split}": getattr(digits, split)[place] for split in ("train", "test") for place, xy in enumerate("xy")
    }
    with (tmp_path / "DIGITS.NPZ").open("wb") as file:
        np.savez(file, **arrays)
    status, printed, error = run_command(
        evaluate, f"--tflite={MODELS / 'digits.tflite'}", f"--dataset={tmp_path / 'DIGITS.NPZ'}"
    )
    assert (status, error) == (0, "") and "270 test images" in printed


def test_what_is_asked_for_goes_before_what_the_file_takes(run_command, photos):
    for flag, shape in (("--image_size=9", "(9, 9, 1)"), ("--nograyscale", "(8, 8, 3)")):
        status, _, error = run_command(evaluate, f"--tflite={MODELS / 'digits.tflite'}", "--dataset=photos", flag)
        assert status == 2 and f"photos has {shape}" in error


NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@pytest.mark.parametrize("where", ["beside", "embedded"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("0123456789", None),
        (NAMES, None),  # the dataset's are bare numbers
        ("1023456789", "class 0 of model.tflite is '1', that of photos is '0'"),
    ],
)
def test_classes_in_another_order_are_refused(run_command, photos, where, labels, message):
    lines = "".join(f"{label}\n" for label in labels)
    pathlib.Path("model.tflite").write_bytes((MODELS / "digits.tflite").read_bytes())
    if where == "beside":
        pathlib.Path("labels.txt").write_text(lines)
    else:
        with zipfile.ZipFile("model.tflite", "a") as files:
            files.writestr("labels.txt", lines)
    status, _, error = run_command(evaluate, "--tflite=model.tflite", "--dataset=photos")
    assert status == (2 if message else 0) and (message or "") in error and error.count("\n") == bool(message)


def test_home_is_where_a_tilde_says(run_command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.tflite").write_bytes((MODELS / "digits.tflite").read_bytes())
    assert run_command(evaluate, "--tflite=~/model.tflite", "--report=~/report.json")[0] == 0
    assert json.loads((tmp_path / "report.json").read_text())["images"] == 270


def test_a_float_file_that_says_nothing_is_reported(run_command, tmp_path):
    export_tflite(
        build(NetworkSpec("resnet18", (8, 8, 1), 10, width=1), 1), None, tmp_path / "f.tflite", quantize="none"
    )
    status, printed, _ = run_command(evaluate, f"--tflite={tmp_path / 'f.tflite'}", f"--report={tmp_path / 'r.json'}")
    assert status == 0 and "does not say how it takes pixels" in printed
    assert "float32 number p" in json.loads((tmp_path / "r.json").read_text())["assumption"]
