import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from odn_keras import evaluate

MODELS = pathlib.Path(__file__).parent.parent / "tflite_models"


def test_accuracy_latency_and_size_are_told_and_written(run_command, tmp_path):
    report = tmp_path / "report.json"
    status, printed, _ = run_command(evaluate, f"--tflite={MODELS / 'digits.tflite'}", f"--report={report}")
    assert status == 0
    measured = json.loads(report.read_text())
    assert measured["images"] == 270 and measured["accuracy"] > 0.97
    assert measured["bytes"] == (MODELS / "digits.tflite").stat().st_size
    assert 0 < measured["median_ms"] <= measured["p95_ms"]
    assert f"{measured['accuracy']:.4f} of 270 test images of digits" in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --tflite"),
        (["--tflite=nowhere.tflite"], "no such file"),
        (["--tflite=nowhere.tflite", "--report=nowhere/report.json"], "no folder nowhere"),
        ([f"--tflite={MODELS / 'digits.tflite'}", f"--report={MODELS}"], "is a folder"),
        ([f"--tflite={MODELS / 'README.md'}"], "not a readable .tflite file"),
        ([f"--tflite={MODELS / 'mnist.tflite'}"], "takes images of (28, 28, 1), digits has (8, 8, 1)"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--dataset=parts"], "has 10 classes, parts has 3"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--runtime=cuda"], "cuda"),
        ([f"--tflite={MODELS / 'digits.tflite'}", "--images=0"], "images"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run_command, image_folder, monkeypatch, arguments, told):
    monkeypatch.chdir(image_folder.parent)
    status, _, error = run_command(evaluate, *arguments)
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error


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
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, "")
