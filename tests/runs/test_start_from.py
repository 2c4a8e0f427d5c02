"""A run that starts from another one."""

import json
import pathlib
import shutil

import pytest

from odn_keras import InputError, NetworkSpec, RunOptions, build, load, run, train
from odn_keras.runs.run_data import start_record
from odn_keras.runs.run_folder import RunFolder

pytestmark = pytest.mark.one_backend

TINY = {"width": 2, "epochs": 2, "cycle_epochs": 2, "batch_size": 64, "train_images": 512, "target_accuracy": 0.01}


def flags(**options):
    return [f"--{name}={value}" for name, value in (TINY | options).items()]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The folder of a finished run of depth 2, on grey digits."""
    out = tmp_path_factory.mktemp("other") / "run"
    options = {name: value for name, value in TINY.items() if name != "target_accuracy"}
    run(RunOptions(depth=2, **options), out)
    return out


def test_a_run_begins_with_the_blocks_and_at_the_depth_of_another(other, npz, tmp_path, run_command):
    import numpy as np

    rng = np.random.default_rng(0)
    colour = {"x_train": rng.integers(0, 256, (150, 8, 8, 3)).astype(np.uint8), "y_train": np.arange(150) % 3}
    colour |= {"x_test": colour["x_train"][:30], "y_test": colour["y_train"][:30]}
    out = tmp_path / "run"
    arguments = flags(dataset=npz(**colour), batch_size=8, train_images=120, out=out, start_from=other)
    status, printed, error = run_command(train, *arguments)
    assert (status, error) == (0, "")
    assert "carried over from the start: the stem (repeated for the colours) and 2 of its 2 blocks" in printed
    assert "for the head, on blocks that were carried over" in printed
    report = json.loads((out / "report.json").read_text())
    assert [stage["phase"] for stage in report["stages"]] == ["head", "cycle"] and report["depth"] == 2
    assert report["carried"]["blocks"] == 2 and report["start_path"] == str(other / "model.keras")
    assert load(out / "model.keras").input_shape[1:] == (8, 8, 3)


def test_growth_stays_within_the_deepest_network_asked_for(other, tmp_path):
    report = run(RunOptions(start_from=str(other), max_depth=1, **TINY), tmp_path / "run")
    assert report["depth"] == 1 and (report["carried"]["blocks"], report["carried"]["start_blocks"]) == (1, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_from": "gone.keras"}, "no such file: .*gone.keras"),
        ({"start_from": "{folder}"}, "no such file: .*model.keras"),
        ({"start_from": "{folder}/unfinished"}, "is not finished: resume it first"),
        ({"start_from": "{folder}/text.keras"}, "is not a readable .keras file"),
        ({"start_from": "{other}", "width": 4}, "give width 2, that of the start"),
        ({"start_from": "{other}", "backbone": "ds_cnn"}, "no block of the start resnet18_depth2 fits"),
    ],
)
def test_a_start_that_cannot_be_used_is_one_line_and_leaves_nothing(
    other, tmp_path, run_command, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.keras").write_text("text")
    record = tmp_path / "unfinished" / "checkpoint" / "run.json"
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    out = tmp_path / "run"
    places = {"folder": tmp_path, "other": other}
    given = {name: str(value).format(**places) for name, value in options.items()}
    status, _, error = run_command(train, *flags(**given, out=out))
    assert status == 2 and error.count("\n") == 1 and error.startswith("error: ") and not out.exists()
    import re

    assert re.search(words, error)


def test_a_run_is_resumed_with_its_own_start_only(tmp_path, run_command):
    out, path = tmp_path / "run", tmp_path / "start.keras"
    build(NetworkSpec("resnet18", (8, 8, 1), 10, width=2), 1).save(path)
    options = RunOptions(start_from=str(path), **TINY)
    with RunFolder(out).claimed(options, "float32", start_record(str(path)), overwrite=False, resume=False):
        pass
    status, _, error = run_command(train, "--resume", f"--out={out}", f"--start_from={tmp_path / 'other.keras'}")
    assert status == 2 and error.count("\n") == 1 and "--resume changes nothing" in error
    build(NetworkSpec("resnet18", (8, 8, 1), 10, width=2), 1).save(path)
    status, _, error = run_command(train, "--resume", f"--out={out}")
    assert (
        status == 2 and error.count("\n") == 1 and "the start" in error and "is not the one that the run was" in error
    )


def test_a_start_is_known_again(other, tmp_path, monkeypatch):
    shutil.copytree(other, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    record = start_record("other")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert start_record("other", record) == record
    with pytest.raises(InputError, match="no such file"):
        start_record("other")
    assert start_record(None) == {"start_path": None, "start_digest": None}


def test_a_start_that_overwriting_would_remove_is_refused(other, tmp_path, run_command):
    out = pathlib.Path(shutil.copytree(other, tmp_path / "run"))
    status, _, error = run_command(train, *flags(out=out, start_from=out), "--overwrite")
    assert status == 2 and "--overwrite would remove the start" in error and (out / "model.keras").exists()
