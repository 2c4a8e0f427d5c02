import json
import subprocess
import sys

import pytest

from benchmarks.against_paper import PUBLISHED, paper_macs
from odn_keras import NetworkSpec


def test_the_papers_cost_is_its_epochs_at_each_depth_and_its_warm_up():
    spec = NetworkSpec("resnet18", (28, 28, 1), 10)
    # multiply-accumulates of 64 channels at 28x28, a kernel position each
    pixels, stem, conv, head = 28 * 28, 9 * 64, 9 * 64 * 64, 640
    depth1 = 2 * pixels * stem + 3 * (2 * pixels * conv + head)
    depth2 = depth1 + 3 * 2 * pixels * conv
    without_warmup = 82 * depth1 + 80 * depth2
    assert 0.8 < without_warmup / paper_macs(PUBLISHED["mnist"], spec, images=1) < 1


@pytest.mark.parametrize("report", [None, {"dataset": "digits"}])
def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path, report):
    if report:
        (tmp_path / "report.json").write_text(json.dumps(report))
        (tmp_path / "labels.txt").write_text("a\nb\n")
    command = [sys.executable, "-m", "benchmarks.against_paper", f"--run={tmp_path}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
