import json

import numpy as np
import pytest
from PIL import Image

from odn_keras import RunOptions, compare


@pytest.fixture
def make_run(tmp_path):
    """Writes what comparing reads of a finished run."""

    def made(name, test=0.9, **options):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        chosen = RunOptions(**options)
        report = {
            **{"dataset": "digits", "depth": 1, "max_depth": 8, "params": 100, "tflite_bytes": 5000, "macs": 7},
            **{"predicted_arena_bytes": 300, "val_accuracy": 0.95, "test_accuracy": 0.91, "epochs": 3},
            **{"int8_test_accuracy": test, "training_macs": 10**9, "target_accuracy": 0.98, "target_met": False},
            "options": {name: getattr(chosen, name) for name in RunOptions.__dataclass_fields__},
            "data": {"splits": {"validation": [[10, "a"]], "test": [[5, options.get("dataset", "b")]]}},
        }
        (folder / "report.json").write_text(json.dumps(report))
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "growth.png")
        return folder

    return made


def test_runs_stand_side_by_side_with_what_differs(run_command, make_run, tmp_path):
    runs = [make_run("one", 0.9), make_run("<two>", 0.925, width=16)]
    status, printed, error = run_command(compare, *runs, f"--out={tmp_path / 'both'}")
    assert status == 0, error
    lines = {line.split("  ")[0]: line.split() for line in printed.splitlines()}
    assert lines["test accuracy, int8"][-2:] == ["0.9000", "0.9250"] and lines["--width"] == ["--width", "64", "16"]
    assert "--epochs" not in printed and "do not compare" not in printed
    page = (tmp_path / "both" / "report.html").read_text()
    assert "&lt;two&gt;" in page and "<two>" not in page and page.count("data:image/png") == 3
    stored = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert stored["options"] == [["--width", "64", "16"]]


def test_runs_on_other_images_are_told_apart(run_command, make_run, tmp_path):
    runs = [make_run("one"), make_run("two", dataset="mnist")]
    status, printed, _ = run_command(compare, *runs, f"--out={tmp_path / 'both'}")
    assert status == 0 and "their accuracies do not compare" in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "two finished runs or more"),
        (["RUN"], "two finished runs or more"),
        (["RUN", "RUN"], "given twice"),
        (["RUN", "nowhere"], "nowhere holds no finished run"),
        (["RUN", "OTHER", "--out=RUN"], "a folder of its own"),
        (["RUN", "OTHER", "--out=RUN/report.json"], "must be a folder"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(run_command, make_run, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    run, other = make_run("run"), make_run("other")
    before = sorted(tmp_path.rglob("*"))
    arguments = [text.replace("RUN", str(run)).replace("OTHER", str(other)) for text in arguments]
    status, _, error = run_command(compare, *arguments)
    assert status == 2 and error.count("\n") == 1 and told in error
    assert sorted(tmp_path.rglob("*")) == before
