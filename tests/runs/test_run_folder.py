import contextlib
import dataclasses
import json
import pathlib

import pytest
from other_process import elsewhere

from odn_keras import InputError, RunOptions
from odn_keras.growing.checkpoint import Checkpoint, Snapshot
from odn_keras.runs import leftovers, run_folder
from odn_keras.runs.finished_run import finished_report, in_use
from odn_keras.runs.run_files import RUN_FILES, SNAPSHOTS
from odn_keras.runs.run_folder import RunFolder

pytestmark = pytest.mark.one_backend

SNAPSHOT = "epoch000001-step00000000-0123456789abcdef.npz"


def begin(folder, **choice):
    with folder.claimed(RunOptions(), "float32", **{"overwrite": False, "resume": True, **choice}):
        pass


def finish(folder, options=None):
    """A finished run, as far as its folder is concerned."""
    folder.path.mkdir(parents=True, exist_ok=True)
    for name in RUN_FILES:
        (folder.path / name).write_text("of a run")
    report = {"options": dataclasses.asdict(options or RunOptions())}
    (folder.path / "report.json").write_text(json.dumps(report))


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder)
    (tmp_path / ".writing-chain").mkdir()
    (tmp_path / ".writing-chain" / "stage1.tflite").write_bytes(b"half")
    (folder.checkpoint / ".writing-epoch").write_bytes(b"half")
    begin(folder)
    assert not list(tmp_path.rglob(".writing-*"))


def test_a_finished_run_is_reported_from_one_of_other_options(tmp_path):
    folder = RunFolder(tmp_path)
    finish(folder)
    with pytest.raises(InputError, match=r"finished, with these options: its report is .*report.json"):
        folder.check(RunOptions(), overwrite=False, resume=False)
    with pytest.raises(InputError, match=r"finished run with --width=64, not 8; --seed=0, not 1: choose another --out"):
        folder.check(RunOptions(width=8, seed=1), overwrite=False, resume=False)
    folder.check(RunOptions(data_dir="elsewhere"), overwrite=False, resume=True)


def test_an_unfinished_run_says_how_it_is_finished(tmp_path):
    folder = RunFolder(tmp_path / "my run")
    begin(folder)
    resume = r"python -m odn_keras.train --resume --out='.*/my run'"
    for options, words in ((RunOptions(), "these options"), (RunOptions(width=8), "--width=64, not 8")):
        with pytest.raises(InputError, match=f"unfinished run with {words}.*{resume}"):
            folder.check(options, overwrite=False, resume=False)
    with pytest.raises(InputError, match=f"unfinished: to finish it, {resume}"):
        finished_report(folder.path)


class Killed(BaseException):
    pass


def test_whatever_interrupts_the_beginning_leaves_the_old_run_or_a_clean_new_one(tmp_path, monkeypatch):
    """Kills at the first change of the folder, the second, ... until the beginning gets through."""
    kills = 0
    for moment in range(100):
        folder = RunFolder(tmp_path / str(moment))
        finish(folder, RunOptions(seed=1))
        (folder.path / "export").mkdir()
        for name in ("export.json", "model.cc"):
            (folder.path / "export" / name).write_text("of the old run")
        folder.checkpoint.mkdir()
        (folder.checkpoint / SNAPSHOT).write_text("of an older one")
        old = sorted(str(path) for path in folder.path.rglob("*"))
        changes = 0

        def counting(original):
            def change(*arguments, **named):
                nonlocal changes
                if changes == moment:  # noqa: B023
                    raise Killed
                changes += 1
                return original(*arguments, **named)

            return change

        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            patched.setattr(run_folder, "write_json", counting(run_folder.write_json))
            patched.setattr(leftovers, "remove", counting(leftovers.remove))
            patched.setattr(pathlib.Path, "unlink", counting(pathlib.Path.unlink))
            begin(folder, overwrite=True, resume=False)
            break
        kills += 1
        if not folder.unfinished:
            left = {str(path) for path in folder.path.rglob("*")} - {str(folder.path / ".lock")}
            assert sorted(path for path in left if ".writing-" not in path) == old
            assert folder.options() == RunOptions(seed=1)
            continue
        assert folder.options() == RunOptions()
        begin(folder)
        assert [path.name for path in folder.path.rglob("*") if path.is_file() and path.name != ".lock"] == ["run.json"]
        assert "clearing" not in folder.record()
    assert kills > 8


def test_overwriting_removes_what_was_made_of_the_run_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path)
    finish(folder)
    made = ["export/export.json", "sensor/specialize.json", "sensor/model.cc", "devices/watch/frontier.json"]
    made += ["routed/routing.json", "routed/stage1.tflite", "sensor/.finetuning/x/epoch000001", "latency.json"]
    kept = ["sensor/main.cpp", "photos/cat/1.png", "other/report.json", "other/export/export.json"]
    for name in (*made, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    begin(folder, overwrite=True, resume=False)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left - {".lock"} == {*kept, "checkpoint/run.json"}
    assert not (tmp_path / "export").exists() and not (tmp_path / "devices" / "watch").exists()


def test_what_python_or_another_program_has_put_into_checkpoint_is_not_lost(tmp_path):
    """`odn_keras.Checkpoint("runs/mine/checkpoint")` is what the documentation shows."""
    folder = RunFolder(tmp_path)
    folder.checkpoint.mkdir()
    (folder.checkpoint / SNAPSHOT).write_text("of a fit in Python")
    for resume in (False, True):
        with pytest.raises(InputError, match="holds another run, or a part of one: choose another --out"):
            begin(folder, resume=resume)
    assert (folder.checkpoint / SNAPSHOT).exists()

    (folder.checkpoint / "weights.pt").write_text("of another program")
    begin(folder, overwrite=True, resume=False)
    assert {file.name for file in folder.checkpoint.iterdir()} == {"run.json", "weights.pt"}
    with folder.claimed(RunOptions(), "float32", overwrite=False, resume=True):
        folder.finish()
    assert [file.name for file in folder.checkpoint.iterdir()] == ["weights.pt"]


def test_resuming_begins_no_run_over_files_of_another(tmp_path):
    """As `export --model=my.keras --out=exported` leaves them."""
    (tmp_path / "model.tflite").write_text("exported")
    with pytest.raises(InputError, match="choose another --out"):
        begin(RunFolder(tmp_path))
    assert (tmp_path / "model.tflite").exists()


def test_a_run_that_another_process_has_finished_meanwhile_is_not_trained_again(tmp_path):
    """It was unfinished, and in use, when this process began to load the data."""
    finish(RunFolder(tmp_path))
    with pytest.raises(InputError, match=r"another process has just finished the run in .*: --resume shows it"):
        begin(RunFolder(tmp_path))
    assert finished_report(tmp_path)


def test_the_snapshots_that_a_run_knows_are_those_of_a_checkpoint(tmp_path):
    Checkpoint(tmp_path).save(Snapshot(3, 7, {}, {}))
    assert list(tmp_path.glob(SNAPSHOTS)) == list(tmp_path.iterdir())


def overwrite(path):
    return RunFolder(path).claimed(RunOptions(), "float32", overwrite=True, resume=False)


def test_a_run_that_is_read_is_not_trained_over_but_may_be_read_by_others(tmp_path):
    finish(RunFolder(tmp_path))
    with in_use(tmp_path):
        assert "another process works in" in elsewhere(overwrite, tmp_path)
        assert elsewhere(in_use, tmp_path) == "went in"
        assert "another process works in" in elsewhere(overwrite, tmp_path)
    assert not (tmp_path / ".lock").exists() and RunFolder(tmp_path).options() == RunOptions()
    with overwrite(tmp_path):
        assert "another process works in" in elsewhere(in_use, tmp_path)
    assert elsewhere(overwrite, tmp_path) == "went in"
