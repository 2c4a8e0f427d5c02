import json
import subprocess
import sys

import pytest

from benchmarks.against_paper import PUBLISHED, paper_macs, with_earlier
from odn_keras import InputError, NetworkSpec


def test_the_papers_cost_is_its_epochs_at_each_depth_and_its_warm_up():
    spec = NetworkSpec("resnet18", (28, 28, 1), 10)
    # multiply-accumulates of 64 channels at 28x28, a kernel position each
    pixels, stem, conv, head = 28 * 28, 9 * 64, 9 * 64 * 64, 640
    depth1 = 2 * pixels * stem + 3 * (2 * pixels * conv + head)
    depth2 = depth1 + 3 * 2 * pixels * conv
    without_warmup = 82 * depth1 + 80 * depth2
    assert 0.8 < without_warmup / paper_macs(PUBLISHED["mnist"], spec, images=1) < 1


def test_of_a_continued_run_those_before_it_count_too(tmp_path):
    for name, before in (("first", None), ("second", "first"), ("third", "second")):
        (tmp_path / name).mkdir()
        report = {"options": {}, "epochs": 5, "training_macs": 100}
        report["continued"] = before and {"run": str(tmp_path / before), "depth": 1, "val_score": 0.9}
        (tmp_path / name / "report.json").write_text(json.dumps(report))
    assert with_earlier(report) == (15, 300)
    (tmp_path / "first" / "report.json").unlink()
    with pytest.raises(InputError, match="first holds no finished run"):
        with_earlier(report)


@pytest.mark.parametrize("report", [None, {"dataset": "digits"}])
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, report):
    if report:
        (tmp_path / "report.json").write_text(json.dumps(report))
        (tmp_path / "labels.txt").write_text("a\nb\n")
    command = [sys.executable, "-m", "benchmarks.against_paper", f"--run={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
