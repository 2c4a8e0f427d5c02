import importlib.util
import json

import pytest

from odn_keras import Budget, InputError, NetworkSpec, build, footprint, train
from odn_keras.networks import cost

SPEC = NetworkSpec("resnet18", (28, 28, 1), num_classes=10)
KB = 1024


def test_the_deepest_network_that_fits_is_reported():
    for kilobytes in (90, 256, 1024):
        depth = Budget(max_flash=kilobytes * KB).deepest(SPEC)
        assert footprint.flash_bytes(SPEC, depth) <= kilobytes * KB < footprint.flash_bytes(SPEC, depth + 1)
    assert Budget().fit(SPEC) == (SPEC, SPEC.max_depth)


@pytest.mark.parametrize(("flash", "arena"), [(256, 64), (64, 64), (32, 32), (1024, 256)])
def test_what_does_not_fit_becomes_smaller(flash, arena):
    budget = Budget(flash * KB, arena * KB)
    spec, depth = budget.fit(SPEC)
    assert all(budget.fits(spec, smaller) for smaller in range(1, depth + 1))
    if budget.fits(SPEC, 1):
        assert spec == SPEC
    else:
        assert spec.stem_stride == 2 or spec.width < SPEC.width


def test_flash_alone_does_not_cost_resolution():
    spec, _ = Budget(max_flash=40 * KB).fit(SPEC)
    assert spec.stem_stride == 1 and spec.width < SPEC.width


def test_where_nothing_fits_the_smallest_is_reported():
    with pytest.raises(InputError, match=r"max_flash=1,024: the smallest tried, one block of width 4 .* needs"):
        Budget(max_flash=KB).fit(SPEC)


def test_limits_are_kept_up_to_the_byte():
    budget = Budget(max_flash=1000, max_arena=500)
    assert budget.measured(1000, 500)["exceeded"] == []
    assert budget.measured(1001, 501)["exceeded"] == ["max_flash", "max_arena"]
    assert budget.measured(1000, None)["exceeded"] == []
    assert Budget.parse(None, None) is None


def test_a_run_keeps_within_its_budget(run_command, tmp_path):
    out = tmp_path / "run"
    arguments = ["--epochs=3", "--width=32", "--max_flash=12KB", "--max_arena=9KB", "--target_accuracy=1"]
    status, printed, _ = run_command(train, f"--out={out}", *arguments)
    assert status == 3 and "the budget asks for a smaller network" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["tflite_bytes"] <= 12 * KB and report["predicted_arena_bytes"] <= 9 * KB
    wanted = NetworkSpec("resnet18", (8, 8, 1), num_classes=10, width=32)
    assert report["width"] < 32 and report["full_params"] == cost.params(build(wanted, wanted.max_depth))
    assert report["full_arena_bytes"] == footprint.arena_bytes(wanted, wanted.max_depth)
    assert report["budget"]["flash_bytes"] == report["tflite_bytes"] and report["budget"]["exceeded"] == []
    if importlib.util.find_spec("tflite_micro"):
        assert report["budget"]["arena_bytes"] == pytest.approx(report["predicted_arena_bytes"], rel=0.02)
    assert "budget kept: file of" in printed


@pytest.mark.parametrize("target", ["0.05", "1"])
def test_a_budget_that_the_real_file_exceeds_is_reported(run_command, tmp_path, monkeypatch, target):
    monkeypatch.setattr("odn_keras.networks.footprint.flash_bytes", lambda spec, depth: 1)
    arguments = ["--epochs=1", "--width=4", "--max_flash=2KB", f"--target_accuracy={target}"]
    status, printed, _ = run_command(train, f"--out={tmp_path / 'run'}", *arguments)
    assert status == 4 and "budget exceeded: file of" in printed and "(max_flash 2,048)" in printed


@pytest.mark.parametrize(("flag", "message"), [("--max_flash=100", "no network"), ("--max_arena=much", "much")])
def test_an_impossible_budget_is_refused_before_anything_is_written(run_command, tmp_path, flag, message):
    status, _, error = run_command(train, f"--out={tmp_path / 'run'}", flag)
    assert status == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
