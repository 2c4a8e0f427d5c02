"""What `benchmarks.distillation` makes of trainings, and what it refuses."""

import pytest

from benchmarks import distillation
from benchmarks.outcome import Outcome


def outcome(*accuracies):
    return Outcome(len(accuracies), 1, 1, 1.0, accuracies[-1], 0.0, list(accuracies))


def test_gains_are_reported_seed_by_seed_and_a_depth_that_was_not_reached_is_left_out():
    accuracies = {
        "labels": distillation.by_depth([outcome(0.5, 0.6), outcome(0.7, 0.8), outcome(0.6)]),
        "teacher": distillation.by_depth([outcome(0.6, 0.6), outcome(0.6), outcome(0.9, 0.9)]),
        "alone": {1: [0.8, 0.8, 0.8]},
    }
    rows = {(row["depth"], row["way"]): row for row in distillation.summary(accuracies)}
    assert rows[1, "teacher"]["gains"] == pytest.approx([0.1, -0.1, 0.3])
    assert rows[1, "teacher"]["median_gain"] == pytest.approx(0.1) and rows[1, "teacher"]["median"] == 0.6
    assert rows[2, "teacher"]["gains"] == pytest.approx([0.0]) and rows[2, "labels"]["median"] == pytest.approx(0.7)
    assert rows[1, "alone"]["median_gain"] == pytest.approx(0.2) and (2, "alone") not in rows
    assert "gains" not in rows[1, "labels"]
    printed = distillation.table(list(rows.values()))
    assert "0.6000, -, 0.9000 (+0.0000)" in printed and "+0.1000" in printed


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--alphas=0,much", "numbers, separated by commas"),
        ("--alphas=2", "at most 1, got 2.0"),
        ("--exit_weights=0", "above 0, got 0.0"),
        ("--alone=9", "depths 1 to 8, got 9"),
        ("--alpha=0.5", "give --alphas"),
        ("--max_depth=9", "got 9"),
    ],
)
def test_bad_input_is_one_line_and_trains_nothing(run_command, tmp_path, argument, message):
    status, _, error = run_command(distillation, "--dataset=digits", f"--out={tmp_path / 'out'}", argument)
    assert status == 2 and error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()
