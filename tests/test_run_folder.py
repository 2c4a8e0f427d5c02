import json

import pytest

from odn_keras import InputError, RunOptions
from odn_keras.run_folder import RunFolder, finished_report

pytestmark = pytest.mark.one_backend


def begin(folder):
    with folder.claimed(RunOptions(), "float32", overwrite=False, resume=True):
        pass


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


def test_options_of_another_version_are_one_line(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"options": {"momentum": 0.5}}))
    with pytest.raises(InputError, match=r"another version \(.*momentum"):
        RunFolder(tmp_path).options()


def test_a_record_without_what_it_must_have_is_one_line(tmp_path):
    folder = RunFolder(tmp_path)
    begin(folder)
    (folder.checkpoint / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run.json cannot be read .*--overwrite"):
        folder.precision()
    folder.check(RunOptions(), overwrite=True, resume=False)
