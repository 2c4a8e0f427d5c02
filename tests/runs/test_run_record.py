import json

import pytest

from odn_keras import InputError, RunOptions
from odn_keras.runs.finished_run import finished_report, finished_supernet
from odn_keras.runs.run_folder import RunFolder

pytestmark = pytest.mark.one_backend

SPEC = {"backbone": "resnet18", "input_shape": [8, 8, 1], "num_classes": 10, "width": 4, "exits": [1]}
SUPERNET = {"options": {}, "depth": 2, "precision": "float32", "supernet": {"spec": SPEC, "widths": False}}


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
    with folder.claimed(RunOptions(), "float32", overwrite=False, resume=True):
        pass
    (folder.checkpoint / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run.json cannot be read .*--overwrite"):
        folder.record()
    folder.check(RunOptions(), overwrite=True, resume=False)
