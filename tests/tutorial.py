"""Runs docs/tutorial.ipynb, and writes into it what its cells answer.

python tests/tutorial.py            runs it in a temporary folder and writes the answers
"""

import os
import pathlib
import tempfile

import nbformat
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def executed(folder: str | os.PathLike[str]) -> nbformat.NotebookNode:
    """The notebook with what its cells answer, run in a folder; raises nbclient's error where a cell fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_of_machine(output)]
    return notebook


def _is_of_machine(output: nbformat.NotebookNode) -> bool:
    """Whether it is what TensorFlow says of this machine and its temporary folders."""
    return output.get("name") == "stderr" or "INFO:tensorflow" in output.get("text", "")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        nbformat.write(executed(temporary), NOTEBOOK)
