"""The tutorial runs from its first cell to its last, and leaves what it says."""

import json

import nbformat
import pytest
import tutorial

pytestmark = [pytest.mark.one_backend, pytest.mark.trains]


def test_the_tutorial_runs_and_leaves_a_file_for_a_device(tmp_path):
    tutorial.executed(tmp_path)
    report = json.loads((tmp_path / "runs" / "photos" / "report.json").read_text())
    assert report["int8_test_accuracy"] > 0.5  # of five classes
    assert (tmp_path / "runs" / "photos" / "report.html").exists()
    assert (tmp_path / "for_the_device" / "model.h").read_text().startswith("// Written by odn_keras")


def test_the_tutorial_shows_what_its_cells_answer():
    cells = [cell for cell in nbformat.read(tutorial.NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    pictures = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert all(cell.outputs for cell in cells[1:]) and len(pictures) >= 3
    assert tutorial.NOTEBOOK.stat().st_size < 1_000_000
