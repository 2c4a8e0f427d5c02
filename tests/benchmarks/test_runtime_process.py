"""The benchmark of the runtimes."""

import pathlib
import subprocess
import sys

import pytest

from benchmarks import runtimes

pytest.importorskip("tensorflow")
pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
pytestmark = pytest.mark.one_backend
MODELS = pathlib.Path(__file__).parents[2] / "tflite_models"
FILES = [f"--tflite={MODELS / 'digits.tflite'}", f"--android={MODELS / 'digits_rgb.tflite'}"]


def test_runtimes_are_compared_image_by_image(run_command):
    status, printed, _ = run_command(
        runtimes, *FILES, "--width=2", "--images=40", "--micro_images=20", f"--python=tflite_micro={sys.executable}"
    )
    assert status == 0
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    cells = {(row[0], row[1]): dict(zip(table[0], row, strict=True)) for row in table[2:]}
    litert, micro = cells["litert", "digits.tflite"], cells["tflite_micro", "digits.tflite"]
    reference, rgb = cells["litert_reference", "digits.tflite"], cells["litert", "digits_rgb.tflite"]
    assert (litert["images"], micro["images"]) == ("40", "20")
    assert litert["bytes"] == f"{(MODELS / 'digits.tflite').stat().st_size:,}"
    assert litert["other label"] == "" and reference["other label"] == micro["other label"] == "0.00%"
    assert float(litert["accuracy"].rstrip("%")) > 95 and float(rgb["accuracy"].rstrip("%")) > 95
    steps = {row["largest difference"] for row in (reference, micro, rgb)}
    assert all(float(each.removesuffix(" / 256")) < 20 for each in steps)
    assert all(0 < float(row["ms, median"]) <= float(row["ms, 95 %"]) for row in cells.values())
    assert float(litert["times faster"]) > 0 and cells["litert", "resnet18 at full depth, float32"]["accuracy"] == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--tflite"),
        ([f"--tflite={MODELS / 'README.md'}"], "not a readable .tflite file"),
        ([*FILES, "--python=cuda=python"], "got cuda=python"),
        ([*FILES, "--python=mediapipe"], "got mediapipe="),
        ([*FILES, "--python=mediapipe=nowhere/python"], "no such file"),
        ([*FILES, "--width=1", f"--python=litert={MODELS / 'README.md'}"], "Permission denied"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(run_command, arguments, message):
    status, _, error = run_command(runtimes, *arguments)
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_an_environment_without_the_runtime_says_so(run_command, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    status, _, error = run_command(runtimes, *FILES, "--width=1", f"--python=tflite_runtime={python}")
    assert status == 2
    assert error.count("\n") == 1 and f"tflite_runtime in {python}: " in error and "numpy" in error
