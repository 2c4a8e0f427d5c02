import json
from dataclasses import asdict

import numpy as np
import pytest

from odn_keras import NetworkSpec, RoutedClassifier, RunOptions, build, route

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A finished run with exits on the digits: the two of its files that routing reads."""
    folder = tmp_path_factory.mktemp("run")
    network = build(NetworkSpec("resnet18", (8, 8, 1), 10, width=8, exits=(1,)), 2)
    images, labels = digits.train
    network.compile("adam", ["sparse_categorical_crossentropy"] * 2, jit_compile=False)
    network.fit(images.astype("float32"), [labels] * 2, epochs=20, batch_size=32, verbose=0)
    network.save(folder / "supernet.keras")
    (folder / "report.json").write_text(json.dumps({"options": asdict(RunOptions(dataset="digits"))}))
    return folder


def test_a_run_becomes_a_chain_that_keeps_what_its_report_says(run_command, run, digits, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "stage9.tflite").write_text("of an earlier chain")
    status, printed, error = run_command(route, f"--run={run}", f"--out={out}", "--max_accuracy_drop=0.2")
    assert status == 0, error
    assert {path.name for path in out.iterdir()} == {
        *("stage1.tflite", "stage2.tflite", "routing.json", "routing.h", "routing.png", "labels.txt"),
    }
    result = json.loads((out / "routing.json").read_text())
    images, labels = digits.test
    answers, exits = RoutedClassifier(out).route(images)
    first, end = result["stages"]
    assert result["test"]["accuracy"] == np.mean(answers.argmax(-1) == labels)
    assert first["test_share"] == pytest.approx(np.mean(exits == 0)) and first["test_share"] > 0
    mean_macs = first["test_share"] * first["macs"] + end["test_share"] * end["macs"]
    assert result["test"]["mean_macs"] == pytest.approx(mean_macs)
    assert result["validation"]["worst_drop"] <= 0.2
    assert f"kThresholds[kStages] = {{{first['threshold_int8']}, -128}};" in (out / "routing.h").read_text()
    assert all(str(path) in printed for path in out.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --run"),
        (["--run=RUN", "--model=RUN/supernet.keras"], "give --run"),
        (["--run=nowhere"], "no finished run"),
        (["--model=nowhere.keras"], "no such file"),
        (["--run=RUN", "--max_accuracy_drop=5"], "a fraction from 0 to 1, got 5.0"),
        (["--run=RUN", "--out=RUN/report.json"], "must be a folder"),
        (["--model=RUN/supernet.keras", "--dataset=DATA"], "2 classes"),
        (["--model=PLAIN", "--dataset=digits"], "trained without exits: train with --exits=all"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run_command, run, npz, tmp_path, arguments, told):
    build(NetworkSpec("resnet18", (8, 8, 1), 10, width=4), 1).save(tmp_path / "plain.keras")
    names = {"RUN": run, "DATA": npz(), "PLAIN": tmp_path / "plain.keras"}
    for name, path in names.items():
        arguments = [argument.replace(name, str(path)) for argument in arguments]
    before = sorted((*run.iterdir(), *tmp_path.iterdir()))
    status, _, error = run_command(route, *arguments)
    assert status == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert sorted((*run.iterdir(), *tmp_path.iterdir())) == before


def test_a_run_without_exits_is_told_how_to_get_them(run_command, run, tmp_path):
    (tmp_path / "report.json").write_text((run / "report.json").read_text())
    status, _, error = run_command(route, f"--run={tmp_path}")
    assert status == 2 and "trained without exits: train with --exits=all" in error
