"""Cutting networks for devices out of one run, as its user does it."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

from odn_keras import (
    Budget,
    DepthGrowth,
    LiteRTClassifier,
    NetworkSpec,
    OptimallyDeepNetwork,
    RunOptions,
    build,
    load_dataset,
    run,
    specialize,
)
from odn_keras.devices.choices import Choice
from odn_keras.devices.device_search import Specialization
from odn_keras.devices.latency_table import parts
from odn_keras.errors import InputError
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.networks.footprint import flash_bytes


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on the digits with exits and smaller widths."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    run(RunOptions(width=8, exits="1", shrink_epochs=6, epochs=18, cycle_epochs=6, max_depth=2, target_accuracy=1), out)
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
    evaluation = f"next: python -m odn_keras.evaluate --tflite={out / 'model.tflite'} --dataset=digits"
    assert printed.rstrip().splitlines()[-1] == evaluation


def test_a_network_trained_on_alone_is_the_one_that_is_exported_and_resumes_where_it_was_cut_off(
    command, finished, tmp_path, monkeypatch
):
    arguments = f"--run={finished}", "--max_flash=6KB", "--targets=android", f"--out={tmp_path / 'device'}"
    epochs = []

    def cut(self, epoch, logs=None):
        epochs.append(epoch)
        if len(epochs) == 2:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(DepthGrowth, "on_epoch_begin", cut)
        status, _, error = command(*arguments, "--finetune_epochs=8")
    assert status == 2 and "No space left" in error and not (tmp_path / "device" / "model.keras").exists()
    monkeypatch.setattr(DepthGrowth, "on_epoch_begin", lambda self, epoch, logs=None: epochs.append(epoch))
    assert command(*arguments, "--finetune_epochs=8")[0] == 0
    assert epochs == [0, 1, *range(1, 8)]
    found = json.loads((tmp_path / "device" / "specialize.json").read_text())
    assert command(*arguments[:-1], f"--out={tmp_path / 'cut'}")[0] == 0
    cut_out = json.loads((tmp_path / "cut" / "specialize.json").read_text())
    finetuning = found.pop("finetuning")
    assert cut_out.pop("finetuning") is None and finetuning["val_accuracy_before"] == cut_out["val_accuracy"]
    assert finetuning["kept"] and found["val_accuracy"] == finetuning["val_accuracy"] > cut_out["val_accuracy"]
    assert found.pop("search_seconds") > 0 < cut_out.pop("search_seconds")
    assert {**found, "val_accuracy": 0} == {**cut_out, "val_accuracy": 0}
    assert not (tmp_path / "device" / ".finetuning").exists()
    network = keras.saving.load_model(tmp_path / "device" / "model.keras")
    images, labels = load_dataset("digits").validation
    right = network.predict(images.astype("float32"), verbose=0).argmax(-1) == labels
    assert np.mean(right) == pytest.approx(found["val_accuracy"])


def test_a_run_with_exits_only_is_narrowed_where_that_is_trained_on(command, tmp_path):
    out = tmp_path / "exits"
    run(RunOptions(width=8, exits="1", epochs=7, cycle_epochs=6, max_depth=2, target_accuracy=1), out)
    arguments = f"--run={out}", "--max_flash=5KB", "--targets=android", f"--out={tmp_path / 'device'}"
    status, _, error = command(*arguments)
    assert status == 2 and "the nearest, of depth 1" in error and "with --finetune_epochs" in error
    assert command(*arguments, "--finetune_epochs=4")[0] == 0
    found = json.loads((tmp_path / "device" / "specialize.json").read_text())
    assert max(channels for block in found["inner"] for channels in block) < 8
    assert found["finetuning"]["kept"] and found["val_accuracy"] > 0.6
    assert (tmp_path / "device" / "android.tflite").stat().st_size < 8 * 1024


def test_an_interrupted_finetuning_does_not_bind_the_next_one(command, finished, tmp_path, monkeypatch):
    arguments = f"--run={finished}", "--max_flash=6KB", "--targets=android", f"--out={tmp_path}"
    with monkeypatch.context() as patched:
        patched.setattr(DepthGrowth, "on_epoch_begin", lambda self, epoch, logs=None: 1 / (1 - epoch))
        with pytest.raises(ZeroDivisionError):
            command(*arguments, "--finetune_epochs=3")
    assert list((tmp_path / ".finetuning").rglob("*.npz"))
    assert command(*arguments, "--finetune_epochs=2")[0] == 0
    assert json.loads((tmp_path / "specialize.json").read_text())["finetuning"]["epochs"] == 2


def test_a_finetuning_that_diverges_is_one_line_and_leaves_nothing(command, finished, tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise TrainingDiverged("the loss became nan")

    monkeypatch.setattr(OptimallyDeepNetwork, "fit", diverge)
    arguments = f"--run={finished}", "--max_flash=6KB", "--finetune_epochs=1", f"--out={tmp_path / 'out'}"
    status, _, error = command(*arguments)
    assert status == 2 and "leave --finetune_epochs out" in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_smallest_that_is_accurate_enough(command, finished, tmp_path):
    out = tmp_path / "small"
    status, _, _ = command(f"--run={finished}", "--min_accuracy=0.6", f"--out={out}")
    assert status == 0
    found = json.loads((out / "specialize.json").read_text())
    full = flash_bytes(NetworkSpec("resnet18", (8, 8, 1), 10, width=8), 2)
    assert found["val_accuracy"] >= 0.6 and found["flash_bytes"] < full


def test_the_frontier_rises_with_size(command, finished):
    status, printed, error = command(f"--run={finished}", "--frontier")
    assert (status, error) == (0, "")
    points = json.loads((finished / "frontier" / "frontier.json").read_text())
    assert len(points) > 1 and (finished / "frontier" / "frontier.png").stat().st_size > 1000
    next_one = printed.rstrip().splitlines()[-1].partition(": ")[2]
    assert next_one.startswith(f"python -m odn_keras.specialize --run={finished} --max_flash=")
    for name in ("flash_bytes", "val_accuracy"):
        values = [point[name] for point in points]
        assert values == sorted(set(values))
    assert f"{points[0]['flash_bytes']:,}" in printed


@pytest.fixture
def table(tmp_path):
    """Writes a table of so many milliseconds for each inner channel of a block, and none for the rest."""

    def write(milliseconds=0.1, **changed):
        spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8)
        found = {}
        for channels in (2, 4, 6, 8):
            named = parts(dataclasses.replace(spec, inner=((channels,), (channels,))), 2)
            found |= {part: channels * milliseconds if part.startswith("block") else 0.0 for part in named}
        stored = {"runtime": "a clock", "machine": "of ours", "vela": None, "call_ms": 0.0, "factor": 1.0}
        (tmp_path / "latency.json").write_text(json.dumps({**stored, "parts_ms": found, **changed}))
        return f"--latency={tmp_path / 'latency.json'}"

    return write


def test_the_network_for_a_limit_of_latency_keeps_it(command, finished, table, tmp_path):
    out = tmp_path / "fast"
    status, printed, error = command(f"--run={finished}", table(100.0), "--max_latency_ms=999", f"--out={out}")
    assert (status, error) == (0, "")
    found = json.loads((out / "specialize.json").read_text())
    assert found["latency_ms"] == 100 * sum(sum(channels) for channels in found["inner"]) <= 999
    budget = json.loads((out / "export.json").read_text())["budget"]
    assert 0 < budget["latency_ms"] < 999 and budget["exceeded"] == []
    assert "budget kept: latency of" in printed and f"{found['latency_ms']:.4g} ms by the table" in printed


def test_the_table_that_lies_in_the_run_is_found(command, finished, table, tmp_path):
    table(1.0)
    run, out = tmp_path / "run", tmp_path / "fast"
    shutil.copytree(finished, run)
    shutil.move(tmp_path / "latency.json", run)
    arguments = [f"--run={run}", "--max_latency_ms=9", "--targets=android", f"--out={out}"]
    assert command(*arguments)[0] == 0
    assert json.loads((out / "specialize.json").read_text())["latency_ms"] <= 9
    (run / "latency.json").write_text("{}")
    status, _, error = command(*arguments)
    assert status == 2 and f"{run / 'latency.json'} is no latency table" in error


def test_a_real_file_that_takes_longer_is_reported(command, finished, table, tmp_path):
    out = tmp_path / "slow"
    arguments = ["--max_latency_ms=0.000001", "--max_flash=1MB", f"--out={out}"]
    status, printed, _ = command(f"--run={finished}", table(1e-9), *arguments)
    assert status == 4 and "budget exceeded" in printed
    assert json.loads((out / "export.json").read_text())["budget"]["exceeded"] == ["max_latency_ms"]


def test_the_frontier_has_latencies(command, finished, table, tmp_path):
    status, printed, _ = command(f"--run={finished}", "--frontier", table(), f"--out={tmp_path / 'frontier'}")
    points = json.loads((tmp_path / "frontier" / "frontier.json").read_text())
    assert status == 0 and all(f"{point['latency_ms']:.4g}" in printed for point in points)


@pytest.mark.parametrize(
    ("changed", "arguments", "words"),
    [
        ({}, ["--max_latency_ms=0.1"], "the nearest, of depth 1, needs"),
        ({}, ["--max_latency_ms=0"], "above 0, got 0.0"),
        ({}, ["--max_latency_ms=nan"], "above 0, got nan"),
        ({}, ["--max_flash=6KB"], "--latency is for"),
        ({"parts_ms": {"stem": 1.0}}, ["--max_latency_ms=1"], "of another network"),
        ({"parts_ms": {"stem": -1.0}}, ["--max_latency_ms=1"], "no latency table"),
        ({"factor": "1"}, ["--max_latency_ms=1"], "no latency table"),
        ({"parts_ms": []}, ["--max_latency_ms=1"], "no latency table"),
        ({"factor": float("nan")}, ["--max_latency_ms=1"], "no latency table"),
        ({"call_ms": None}, ["--max_latency_ms=1"], "no latency table"),
        ({"vela": "ethos-u1-1"}, ["--max_latency_ms=1"], "Vela"),
    ],
)
def test_bad_input_of_latency_is_one_line(command, finished, table, tmp_path, changed, arguments, words):
    status, _, error = command(f"--run={finished}", f"--out={tmp_path / 'out'}", table(**changed), *arguments)
    assert status == 2 and words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max_latency_ms=1"], "needs --latency, a table, and there is no"),
        (["--max_latency_ms=1", "--latency=nowhere.json"], "no latency table"),
        (["--max_flash=1KB"], "the nearest, of depth 1, needs"),
        (["--min_accuracy=0.9999", "--max_flash=5KB"], "the nearest, of depth"),
        (["--max_flash=much"], "give a number of bytes"),
        (["--min_accuracy=1.5"], "got 1.5"),
        (["--frontier", "--max_flash=6KB"], "--frontier alone"),
        (["--frontier", "--finetune_epochs=2"], "not for --frontier"),
        ([], "--frontier alone"),
    ],
)
def test_bad_input_is_one_line(command, finished, tmp_path, arguments, words):
    status, _, error = command(f"--run={finished}", f"--out={tmp_path / 'out'}", *arguments)
    assert status == 2 and words in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (None, "give --out, a folder for the device's files, such as --out="),
        ("RUN", "holds a run"),
        ("RUN/.", "holds a run"),
        ("RUN/export", "belongs to the run"),
        ("RUN/routed", "belongs to the run"),
        ("RUN/checkpoint", "belongs to the run"),
        ("RUN/checkpoint/sensor", "belongs to the run"),
        ("RUN/report.json", "must be a folder"),
        ("OTHER", "holds a run"),
        ("UNFINISHED", "holds a run"),
        ("UNFINISHED/checkpoint", "belongs to the run"),
    ],
)
def test_files_of_a_run_are_not_replaced(command, finished, tmp_path, out, words):
    for folder, name in (("other", "report.json"), ("unfinished", "checkpoint/run.json")):
        (tmp_path / folder / name).parent.mkdir(parents=True)
        (tmp_path / folder / name).write_text('{"options": {}}')
    places = {"RUN": finished, "OTHER": tmp_path / "other", "UNFINISHED": tmp_path / "unfinished"}
    before = {path: path.is_file() and path.read_bytes() for place in (finished, tmp_path) for path in place.rglob("*")}
    for name, path in places.items():
        out = out and out.replace(name, str(path))
    status, _, error = command(f"--run={finished}", "--max_flash=6KB", *([f"--out={out}"] if out else []))
    assert status == 2 and words in error and len(error.strip().splitlines()) == 1
    assert before == {
        path: path.is_file() and path.read_bytes() for place in (finished, tmp_path) for path in place.rglob("*")
    }


def test_a_dataset_does_not_get_another_class(command, finished, image_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    report = json.loads((run / "report.json").read_text())
    report["options"] |= {"dataset": str(image_folder)}
    (run / "report.json").write_text(json.dumps(report))
    status, _, error = command(f"--run={run}", "--max_flash=6KB", f"--out={image_folder / 'sensor'}")
    assert status == 2 and "must not lie within the dataset" in error and not (image_folder / "sensor").exists()


def test_a_run_without_smaller_networks_is_refused(command, finished, tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    report = json.loads((finished / "report.json").read_text())
    (folder / "report.json").write_text(json.dumps({**report, "supernet": None}))
    status, _, error = command(f"--run={folder}", "--max_flash=6KB", f"--out={tmp_path / 'out'}")
    assert status == 2 and "train with --exits=all" in error


@pytest.mark.parametrize("pruned", [{}, {"inner": ((3,), (8,), (5,)), "stream": (7, 12)}], ids=["whole", "pruned"])
def test_limits_are_kept_by_what_is_found(digits, pruned):
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1, 2), **pruned)
    search = Specialization(build(spec, 3), spec, digits, widths=True)
    whole = search.sizes(Choice(3, (1.0, 1.0, 1.0)))
    for part in (0.9, 0.5):
        limits = Budget(max_flash=int(part * whole["flash_bytes"]), max_macs=int(part * whole["macs"]))
        assert limits.excess(search.best(limits).sizes) == 0


def test_a_network_that_holds_no_other_is_refused(digits):
    spec = NetworkSpec("resnet18", (8, 8, 1), 10, width=4)
    with pytest.raises(InputError, match="holds no smaller one"):
        Specialization(build(spec, 1), spec, digits, widths=False)
