import json

import pytest

from odn_keras import Budget, InputError, NetworkSpec, footprint, train

SPEC = NetworkSpec("resnet18", (28, 28, 1), num_classes=10)
KB = 1024


def test_the_deepest_network_that_fits_is_told():
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


def test_where_nothing_fits_the_smallest_is_told():
    with pytest.raises(InputError, match=r"max_flash=1,024: the smallest tried, one block of width 4 .* needs"):
        Budget(max_flash=KB).fit(SPEC)


def test_a_run_keeps_within_its_budget(run_command, tmp_path):
    out = tmp_path / "run"
    arguments = ["--epochs=3", "--width=16", "--max_flash=12KB", "--max_arena=9KB", "--target_accuracy=1"]
    status, printed, _ = run_command(train, f"--out={out}", *arguments)
    assert status == 3 and "within the budget" in printed
    report = json.loads((out / "report.json").read_text())
    assert report["tflite_bytes"] <= 12 * KB and report["predicted_arena_bytes"] <= 9 * KB


@pytest.mark.parametrize(("flag", "told"), [("--max_flash=100", "no network"), ("--max_arena=much", "much")])
def test_an_impossible_budget_is_refused_before_anything_is_written(run_command, tmp_path, flag, told):
    status, _, error = run_command(train, f"--out={tmp_path / 'run'}", flag)
    assert status == 2 and told in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
