import pathlib
import re

import build_files


def test_every_module_and_every_test_is_a_bazel_target():
    assert build_files.stale() == [], "python tests/build_files.py writes them"


def test_what_make_runs_exists():
    makefile = pathlib.Path(__file__).parents[1] / "Makefile"
    named = re.findall(r"\btests/[\w/.]+", makefile.read_text())
    assert [path for path in named if not (makefile.parent / path).exists()] == []
