import contextlib
import dataclasses
import json
import multiprocessing

import pytest

from odn_keras import InputError, RunOptions
from odn_keras.growing.checkpoint import Checkpoint, Snapshot
from odn_keras.runs import run_folder
from odn_keras.runs.run_folder import RUN_FILES, RunFolder, finished_report, finished_supernet, in_use, output

pytestmark = pytest.mark.one_backend

SNAPSHOT = "epoch000001-step00000000-0123456789abcdef.npz"
SPEC = {"backbone": "resnet18", "input_shape": [8, 8, 1], "num_classes": 10, "width": 4, "exits": [1]}
SUPERNET = {"options": {}, "depth": 2, "precision": "float32", "supernet": {"spec": SPEC, "widths": False}}


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


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"epochs": 3}', '{"options": 3}'])
def test_a_report_that_no_run_has_written_is_one_line(tmp_path, content):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=r"report.json cannot be read .*--overwrite"):
        finished_report(tmp_path)
    with pytest.raises(InputError, match=r"report.json cannot be read"):
        RunFolder(tmp_path).check(RunOptions(), overwrite=False, resume=True)
    RunFolder(tmp_path).check(RunOptions(), overwrite=True, resume=False)


@pytest.mark.parametrize(
    "changed",
    [
        {"depth": "2"},
        {"depth": 9},
        {"depth": True},
        {"precision": 32},
        {"target_met": "yes"},
        {"val_accuracy": None},
        {"data": []},
        {"dataset_path": 3},
        {"budget": {"exceeded": 1}},
        {"pruning": {"params_before": "many"}},
        {"supernet": 3},
        {"supernet": {"widths": True}},
        {"supernet": {"spec": {**SPEC, "width": "4"}, "widths": True}},
        {"supernet": {"spec": {**SPEC, "backbone": 18}, "widths": True}},
        {"supernet": {"spec": {**SPEC, "momentum": 1}, "widths": True}},
        {"supernet": {"spec": SPEC, "widths": 1}},
        {"supernet": {"spec": SPEC, "widths": True, "val_accuracy": [0.5]}},
    ],
    ids=str,
)
def test_a_report_with_a_field_of_another_kind_is_one_line(tmp_path, changed):
    (tmp_path / "report.json").write_text(json.dumps(SUPERNET))
    assert finished_supernet(tmp_path, "precision") == SUPERNET
    (tmp_path / "report.json").write_text(json.dumps({**SUPERNET, **changed}))
    with pytest.raises(InputError, match=r"report.json cannot be read \(.*\): if it is damaged"):
        finished_supernet(tmp_path)


def test_a_report_that_lacks_what_a_command_needs_is_one_line(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({key: SUPERNET[key] for key in ("options", "supernet")}))
    with pytest.raises(InputError, match="it has no 'depth'"):
        finished_supernet(tmp_path)
    with pytest.raises(InputError, match="it has no 'precision'"):
        finished_report(tmp_path, "precision")


def test_options_of_another_version_are_named_and_new_ones_have_their_defaults(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"options": {"keep": 0.5, "width": 8}}))
    with pytest.raises(InputError, match=r"another version, with --keep=0.5, .*--overwrite"):
        RunFolder(tmp_path).options()
    (tmp_path / "report.json").write_text(json.dumps({"options": {"width": 8}}))
    assert RunFolder(tmp_path).options() == RunOptions(width=8)
    (tmp_path / "report.json").write_text(json.dumps({"options": {"width": "8"}}))
    with pytest.raises(InputError, match="width must be a whole number, got '8'"):
        RunFolder(tmp_path).options()


def test_a_record_without_what_it_must_have_is_one_line(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder)
    (folder.checkpoint / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run.json cannot be read .*--overwrite"):
        folder.record()
    folder.check(RunOptions(), overwrite=True, resume=False)


def test_a_finished_run_is_told_from_one_of_other_options(tmp_path):
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
            patched.setattr(run_folder, "_remove", counting(run_folder._remove))
            patched.setattr(run_folder.pathlib.Path, "unlink", counting(run_folder.pathlib.Path.unlink))
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


def test_a_run_that_another_process_has_finished_meanwhile_is_not_begun_anew(tmp_path):
    """It was unfinished, and in use, when this process began to load the data."""
    finish(RunFolder(tmp_path))
    with pytest.raises(InputError, match=r"another process has just finished the run in .*: --resume shows it"):
        begin(RunFolder(tmp_path))
    assert finished_report(tmp_path)


def test_the_snapshots_that_a_run_knows_are_those_of_a_checkpoint(tmp_path):
    Checkpoint(tmp_path).save(Snapshot(3, 7, {}, {}))
    assert list(tmp_path.glob(run_folder.SNAPSHOTS)) == list(tmp_path.iterdir())


def _try(context, path, answers):
    try:
        with context(path):
            answers.put("went in")
    except InputError as error:
        answers.put(str(error))


def elsewhere(context, path):
    """What another process gets that enters the context."""
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    process = fork.Process(target=_try, args=(context, path, answers))
    process.start()
    answer = answers.get(timeout=60)
    process.join()
    return answer


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


def test_two_do_not_write_into_one_folder_and_nothing_empty_is_left(tmp_path):
    out = tmp_path / "made" / "for it"
    with output(out):
        assert "another process works in" in elsewhere(output, out)
    assert not (tmp_path / "made").exists()
    with pytest.raises(ZeroDivisionError), output(out):
        (out / "file").write_text("")
        1 / 0  # noqa: B018
    assert [path.name for path in out.iterdir()] == ["file"]


@pytest.mark.parametrize("marker, theirs", [("export.json", "model.h"), ("routing.json", "stage1.cc")])
def test_what_no_command_has_written_is_not_replaced(tmp_path, marker, theirs):
    """Such as the model.h of a firmware."""
    run_folder.check_output(tmp_path / "new", None, marker)
    (tmp_path / "main.cc").write_text("")
    (tmp_path / ".finetuning").mkdir()
    run_folder.check_output(tmp_path, None, marker)
    (tmp_path / theirs).write_text("of a user")
    with pytest.raises(InputError, match=f"holds {theirs}, which this would replace, and no {marker}"):
        run_folder.check_output(tmp_path, None, marker)
    (tmp_path / marker).write_text("{}")
    run_folder.check_output(tmp_path, None, marker)


def test_an_output_is_no_run_no_file_and_no_class_of_the_dataset(tmp_path):
    finish(RunFolder(tmp_path / "run"))
    (tmp_path / "images" / "cat").mkdir(parents=True)
    for path, words in (
        (tmp_path / "run", "holds a run"),
        (tmp_path / "run" / "report.json", "is a file"),
        (tmp_path / "images" / "export", "must not lie within the dataset"),
        (tmp_path / "images", "must not lie within the dataset"),
    ):
        with pytest.raises(InputError, match=words), output(path, str(tmp_path / "images")):
            pass
    assert not (tmp_path / "images" / "export").exists()
    with pytest.raises(InputError, match="must not lie within the dataset"):
        options = RunOptions(dataset=tmp_path / "images")
        RunFolder(tmp_path / "images" / "runs" / "x").check(options, overwrite=True, resume=False)
