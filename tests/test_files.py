import errno
import os

import pytest

from odn_keras import InputError
from odn_keras.files import replacing, replacing_files, write_lines


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_has_the_suffix_and_the_usual_permissions(tmp_path):
    with replacing(tmp_path / "model.keras") as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_text("new")
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "model.keras").stat().st_mode == plain.stat().st_mode


def test_the_umask_of_the_process_is_never_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("files of other threads would get other modes"))
    with replacing(tmp_path / "labels.txt") as temporary:
        temporary.write_text("cat")


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as full, replacing(tmp_path / "model.keras"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert full.value.filename == str(tmp_path / "model.keras")


def test_a_line_is_one_line(tmp_path):
    with pytest.raises(InputError, match="line break"):
        write_lines(["cat", "d\nog"], tmp_path / "labels.txt")
    assert not list(tmp_path.iterdir())


def test_a_failed_set_of_files_leaves_the_earlier_one_and_nothing_else(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stage1.cc").write_text("old")
    with pytest.raises(RuntimeError), replacing_files(tmp_path / "out", earlier=["stage*"]) as temporary:
        (temporary / "stage1.cc").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "stage1.cc"]
    assert (tmp_path / "out" / "stage1.cc").read_text() == "old"


def test_a_set_of_files_replaces_the_earlier_one_and_no_other_file(tmp_path, monkeypatch):
    out, moved, replace = tmp_path / "out", [], os.replace
    out.mkdir()
    for name in ("stage1.cc", "stage2.cc", "main.cc"):
        (out / name).write_text("old")
    monkeypatch.setattr(os, "replace", lambda source, path: (moved.append(path.name), replace(source, path)))
    with replacing_files(out, earlier=["stage*"], marker="a.json") as temporary:
        for name in ("a.json", "stage1.cc"):
            (temporary / name).write_text("new")
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        "a.json": "new",
        "stage1.cc": "new",
        "main.cc": "old",
    }
    assert moved == ["stage1.cc", "a.json"]
