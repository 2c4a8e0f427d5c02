import json
from dataclasses import asdict

import numpy as np
import pytest

from odn_keras import LiteRTClassifier, NetworkSpec, RunOptions, build, export, load, load_dataset
from odn_keras.deploy import bundle
from odn_keras.deploy.export_choices import ExportChoices
from odn_keras.deploy.tflite_file.reject_metadata import Reject, reject_of
from odn_keras.runs.run_folder import RunFolder

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A finished run on the digits: the two of its files that exporting reads."""
    folder = tmp_path_factory.mktemp("run")
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8), 1)
    images, labels = digits.train
    network.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    network.fit(images.astype("float32"), labels, epochs=25, batch_size=32, verbose=0)
    network.save(folder / "model.keras")
    (folder / "report.json").write_text(json.dumps({"options": asdict(RunOptions(dataset="digits"))}))
    return folder


def test_files_know_which_answers_to_withhold(run_command, run, digits, tmp_path):
    pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
    out = tmp_path / "out"
    status, printed, error = run_command(export, f"--run={run}", f"--out={out}", "--reject=0.9")
    assert status == 0, error
    result = json.loads((out / "export.json").read_text())
    for file in result["files"]:
        reject, stored = file["reject"], reject_of(out / file["file"])
        assert (
            stored == Reject(reject["least_confidence"], 0.9) and file["bytes"] == (out / file["file"]).stat().st_size
        )
        images, labels = digits.validation
        answers = LiteRTClassifier(out / file["file"]).predict(images)
        given = answers.max(axis=-1) >= stored.least_confidence
        assert np.mean(answers.argmax(axis=-1)[given] == labels[given]) > 0.9
        assert reject["withheld"] == np.sum(~given) and reject["images"] == len(labels)
    assert "promised: 90 % of those given are right" in printed and "test images:" in printed
    least = result["files"][0]["reject"]["least_confidence"]
    assert f"kLeastScore = {round(256 * least) - 128};" in (out / "model.h").read_text()


def test_a_run_becomes_files_for_every_device(run_command, run, digits, tmp_path):
    pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
    pytest.importorskip("ethosu", reason="Vela is not installed: pip install 'odn_keras[vela]'")
    out = tmp_path / "out"
    status, printed, _ = run_command(export, f"--run={run}", f"--out={out}", "--vela=ethos-u55-128")
    assert status == 0
    assert {path.name for path in out.iterdir()} == {
        *("model.tflite", "android.tflite", "model_vela.tflite"),
        *("model.cc", "model.h", "labels.txt", "export.json"),
    }
    result = json.loads((out / "export.json").read_text())
    images, labels = digits.test
    grey, rgb = result["files"]
    assert grey["accuracy"] == LiteRTClassifier(out / "model.tflite").accuracy(images, labels) > 0.8
    assert rgb["accuracy"] == LiteRTClassifier(out / "android.tflite").accuracy(np.repeat(images, 3, axis=-1), labels)
    assert abs(grey["accuracy"] - rgb["accuracy"]) < 0.02
    assert grey["input"]["feed"] == "pixel p (0..255) as the int8 number p - 128"
    assert rgb["input"]["feed"] == "pixel p (0..255) as the uint8 number p"
    assert max(grey["input"]["largest_error_steps"], rgb["input"]["largest_error_steps"]) < 1
    for file in (grey, rgb):
        assert abs(file["float_accuracy"] - file["accuracy"]) < 0.05
        assert 0 < file["difference"] < 0.05 and file["probabilities"]
    assert grey["bytes"] == (out / "model.tflite").stat().st_size
    assert f"kArenaBytes = {result['microcontroller']['arena_bytes']};" in (out / "model.h").read_text()
    assert result["ethos_u"]["cpu_operators"] == 0
    assert all(str(path) in printed for path in out.iterdir())


def test_a_loss_of_more_than_a_point_is_said_loudly(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    network, dataset = load(run / "model.keras"), load_dataset("digits")
    result = bundle.export(network, dataset, "~/exported", ExportChoices(targets=()))
    assert (tmp_path / "exported" / "model.tflite").exists()
    (row,) = result["files"]
    row |= {"accuracy": row["float_accuracy"], "probabilities": True}
    assert "WARNING" not in bundle.table(result)
    row |= {"float_accuracy": 0.95, "accuracy": 0.93, "probabilities": False}
    printed = bundle.table(result)
    assert "WARNING: model.tflite loses 2.0 points of accuracy: the float network has 0.9500" in printed
    assert "no probabilities" in printed


def test_quantisation_aware_training_and_float_files(run_command, run, digits, tmp_path):
    pytest.importorskip("tensorflow_model_optimization", reason="pip install 'odn_keras[qat]'")
    accuracies, out = {}, tmp_path / "out"
    out.mkdir()
    (out / "model.cc").write_text("of an earlier export")
    (out / "export.json").write_text("{}")
    for quantize in ("qat", "float16"):
        arguments = [f"--run={run}", f"--quantize={quantize}", "--targets=", f"--out={out}"]
        assert run_command(export, *arguments)[0] == 0
        assert {path.name for path in out.iterdir()} == {"model.tflite", "labels.txt", "export.json"}
        feed = json.loads((out / "export.json").read_text())["files"][0]["input"]["feed"]
        assert feed.endswith("p - 128" if quantize == "qat" else "float32 number p")
        accuracies[quantize] = LiteRTClassifier(out / "model.tflite").accuracy(*digits.test)
    few = [f"--model={run}/model.keras", "--dataset=digits", "--train_images=127"]
    status, _, error = run_command(export, *few, "--quantize=qat", "--targets=", f"--out={out}")
    assert status == 2 and "at least 128 training images, digits has 127" in error
    assert accuracies["qat"] > accuracies["float16"] - 0.05 > 0.75


def test_a_network_of_another_run_and_an_unfinished_run_are_refused(run_command, run, tmp_path):
    def refused():
        status, _, error = run_command(export, f"--run={tmp_path}", "--targets=")
        assert status == 2 and error.count("\n") == 1 and not (tmp_path / "export").exists()
        return error

    (tmp_path / "model.keras").write_bytes((run / "model.keras").read_bytes())
    report = {**json.loads((run / "report.json").read_text()), "params": 1234}
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert "parameters, not 1,234" in refused()
    with RunFolder(tmp_path).claimed(RunOptions(), "float32", overwrite=True, resume=False):
        assert "another process works in" in refused()
    assert f"unfinished: to finish it, python -m odn_keras.train --resume --out={tmp_path}" in refused()


def test_a_budget_is_held_against_the_real_file_and_arena(run_command, run, tmp_path):
    pytest.importorskip("tflite_micro", reason="TFLite Micro is not installed: pip install 'odn_keras[micro]'")
    arguments = [f"--run={run}", "--targets=", f"--out={tmp_path}"]
    status, printed, _ = run_command(export, *arguments, "--max_flash=1MB", "--max_arena=1MB")
    assert status == 0 and "budget kept" in printed
    budget = json.loads((tmp_path / "export.json").read_text())["budget"]
    assert budget["flash_bytes"] == (tmp_path / "model.tflite").stat().st_size
    status, printed, _ = run_command(export, *arguments, f"--max_arena={budget['arena_bytes'] - 1}")
    assert status == 4 and "budget exceeded: arena of" in printed
    assert (tmp_path / "model.tflite").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --run"),
        (["--run=RUN", "--model=RUN/model.keras"], "give --run"),
        (["--run=nowhere"], "no finished run"),
        (["--model=nowhere.keras"], "no such file"),
        (["--model=RUN/report.json"], "not a readable .keras file"),
        (["--run=RUN", "--quantize=int4"], "int4"),
        (["--run=RUN", "--targets=toaster"], "toaster"),
        (["--run=RUN", "--quantize=float16", "--vela=ethos-u55-128"], "integer files only"),
        (["--run=RUN", "--quantize=none", "--targets=microcontroller"], "int8 or qat, not none"),
        (["--run=RUN", "--quantize=qat", "--targets=android"], "quantised as int8, not qat"),
        (["--run=RUN", "--max_flash=much"], "much"),
        (["--run=RUN", "--quantize=none", "--max_arena=64KB"], "only integer files"),
        (["--run=RUN", "--out=RUN/model.keras"], "must be a folder"),
        (["--model=RUN/model.keras", "--dataset=parts", "--grayscale"], "3 classes"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run_command, run, image_folder, monkeypatch, arguments, message):
    monkeypatch.chdir(image_folder.parent)
    before = sorted(run.iterdir())
    status, _, error = run_command(export, *(argument.replace("RUN", str(run)) for argument in arguments))
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert sorted(run.iterdir()) == before
