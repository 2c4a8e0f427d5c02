import build_files


def test_every_module_and_every_test_is_a_bazel_target():
    assert build_files.stale() == [], "python tests/build_files.py writes them"
