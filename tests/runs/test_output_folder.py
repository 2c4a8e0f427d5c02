import pytest
from other_process import elsewhere

from odn_keras import InputError, RunOptions
from odn_keras.runs.output_folder import check_output, output
from odn_keras.runs.run_folder import RunFolder

pytestmark = pytest.mark.one_backend


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
    check_output(tmp_path / "new", None, marker)
    (tmp_path / "main.cc").write_text("")
    (tmp_path / ".finetuning").mkdir()
    check_output(tmp_path, None, marker)
    (tmp_path / theirs).write_text("of a user")
    with pytest.raises(InputError, match=f"holds {theirs}, which this would replace, and no {marker}"):
        check_output(tmp_path, None, marker)
    (tmp_path / marker).write_text("{}")
    check_output(tmp_path, None, marker)


def test_an_output_is_no_run_no_file_and_no_class_of_the_dataset(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text("{}")
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
