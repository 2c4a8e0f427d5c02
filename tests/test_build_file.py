import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
BUILD = (ROOT / "BUILD").read_text()
NAMED = set(re.findall(r'"([\w/]+\.py)"', BUILD))


def test_every_module_is_a_bazel_source():
    modules = {
        str(path.relative_to(ROOT)) for folder in ("odn_keras", "benchmarks") for path in (ROOT / folder).rglob("*.py")
    }
    assert modules - NAMED == set()


def test_every_test_is_a_bazel_target():
    tests = {str(path.relative_to(ROOT / "tests"))[:-3] for path in (ROOT / "tests").rglob("test_*.py")}
    listed = set(re.findall(r'"((?:\w+/)*test_\w+)"', BUILD))
    assert tests == listed


def test_nothing_named_is_gone():
    assert [name for name in sorted(NAMED) if not (ROOT / name).exists()] == []
