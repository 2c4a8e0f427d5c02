"""Cutting networks for devices out of one run, as its user does it."""

import json

import keras
import numpy as np
import pytest

from odn_keras import LiteRTClassifier, NetworkSpec, RunOptions, build, run, specialize
from odn_keras.errors import InputError
from odn_keras.footprint import flash_bytes
from odn_keras.specialization import Choice, Limits, Specialization


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on the digits with exits and smaller widths."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    run(RunOptions(width=8, exits="1", shrink_epochs=6, epochs=20, cycle_epochs=6, max_depth=2, target_accuracy=1), out)
    return out


@pytest.fixture
def command(run_command):
    return lambda *arguments: run_command(specialize, *arguments)


def test_a_run_with_exits_holds_a_network_of_several_outputs_and_its_end(finished, digits):
    report = json.loads((finished / "report.json").read_text())
    supernet, model = (keras.saving.load_model(finished / f"{name}.keras") for name in ("supernet", "model"))
    images, labels = digits.validation
    outputs = supernet.predict(images.astype("float32"), verbose=0)
    np.testing.assert_allclose(outputs[-1], model.predict(images.astype("float32"), verbose=0), atol=1e-6)
    accuracies = [float(np.mean(output.argmax(-1) == labels)) for output in outputs]
    assert list(report["supernet"]["val_accuracy"].values()) == pytest.approx(accuracies)
    assert report["supernet"]["widths"] and accuracies[-1] > 0.8


def test_the_network_for_a_device_keeps_its_budget(command, finished, tmp_path, digits):
    out = tmp_path / "device"
    status, printed, error = command(f"--run={finished}", "--max_flash=6KB", f"--out={out}")
    assert (status, error) == (0, "")
    found = json.loads((out / "specialize.json").read_text())
    size = (out / "model.tflite").stat().st_size
    assert size <= 6 * 1024 and found["flash_bytes"] == pytest.approx(size, rel=0.01)
    network = keras.saving.load_model(out / "model.keras")
    images, labels = digits.validation
    accuracy = np.mean(network.predict(images.astype("float32"), verbose=0).argmax(-1) == labels)
    assert accuracy == pytest.approx(found["val_accuracy"]) and accuracy > 0.75
    assert abs(LiteRTClassifier(out / "model.tflite").accuracy(images, labels) - accuracy) < 0.05
    assert f"{size:,}" in printed and "budget kept" in printed


def test_the_smallest_that_is_accurate_enough(command, finished, tmp_path):
    out = tmp_path / "small"
    status, _, _ = command(f"--run={finished}", "--min_accuracy=0.6", f"--out={out}")
    assert status == 0
    found = json.loads((out / "specialize.json").read_text())
    full = flash_bytes(NetworkSpec("resnet18", (8, 8, 1), 10, width=8), 2)
    assert found["val_accuracy"] >= 0.6 and found["flash_bytes"] < full


def test_the_frontier_rises_with_size(command, finished, tmp_path):
    status, printed, _ = command(f"--run={finished}", "--frontier", f"--out={tmp_path / 'frontier'}")
    assert status == 0
    points = json.loads((tmp_path / "frontier" / "frontier.json").read_text())
    assert len(points) > 1 and (tmp_path / "frontier" / "frontier.png").stat().st_size > 1000
    for name in ("flash_bytes", "val_accuracy"):
        values = [point[name] for point in points]
        assert values == sorted(set(values))
    assert f"{points[0]['flash_bytes']:,}" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max_flash=1KB"], "the nearest, of depth 1, needs"),
        (["--min_accuracy=0.9999", "--max_flash=5KB"], "the nearest, of depth"),
        (["--max_flash=much"], "give a number of bytes"),
        (["--min_accuracy=1.5"], "got 1.5"),
        (["--frontier", "--max_flash=6KB"], "--frontier alone"),
        ([], "--frontier alone"),
    ],
)
def test_bad_input_is_one_line(command, finished, tmp_path, arguments, words):
    status, _, error = command(f"--run={finished}", f"--out={tmp_path / 'out'}", *arguments)
    assert status == 2 and words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_smaller_networks_is_refused(command, finished, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    report = json.loads((finished / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "supernet": None}))
    status, _, error = command(f"--run={folder}", "--max_flash=6KB", f"--out={tmp_path / 'out'}")
    assert status == 2 and "train with --exits=all" in error


def test_limits_are_kept_by_what_is_found(digits):
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1, 2))
    search = Specialization(build(spec, 3), spec, digits, widths=True)
    whole = search.sizes(Choice(3, (1.0, 1.0, 1.0)))
    for part in (0.9, 0.5):
        limits = Limits(max_flash=int(part * whole["flash_bytes"]), max_macs=int(part * whole["macs"]))
        assert limits.excess(search.best(limits).sizes) == 0


def test_a_network_that_holds_no_other_is_refused(digits):
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=4)
    with pytest.raises(InputError, match="holds no smaller one"):
        Specialization(build(spec, 1), spec, digits, widths=False)
