"""What `python -m build` makes of a checkout, used where nothing else is installed."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from odn_keras.__main__ import COMMANDS

pytest.importorskip("build", reason="the package `build` is not installed: it is in the extra `dev`")

ROOT = pathlib.Path(__file__).parent.parent
PACKAGED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md")
FOR_CLASSIFY = ("numpy", "pillow")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel made of it."""
    checkout, folder = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "odn_keras", checkout / "odn_keras", ignore=shutil.ignore_patterns("__pycache__"))
    for name in PACKAGED:
        shutil.copy(ROOT / name, checkout)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout)
    return folder


@pytest.fixture(scope="module")
def programs(built, tmp_path_factory):
    """Where the programs of an environment lie that has the wheel, and no other package."""
    environment = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", environment)
    (wheel,) = built.glob("*.whl")
    run(environment / "bin" / "python", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    return environment / "bin"


def run(*command, **options):
    """What a program prints, outside this repository."""
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_sdist_and_wheel_hold_every_file_of_the_package(built):
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "odn_keras").rglob("*")
        if path.suffix in (".py", ".html") or path.name == "py.typed"
    }
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == package
    with tarfile.open(sdist) as archive:
        assert package | set(PACKAGED) <= {name.partition("/")[2] for name in archive.getnames()}


def test_the_wheel_needs_nothing_to_be_imported_and_to_list_its_commands(programs):
    assert run(programs / "python", "-c", "import odn_keras; print(len(odn_keras.__all__) > 20)") == "True\n"
    printed = run(programs / "odn", "--help")
    assert all(f"\n  {name} " in printed for name in COMMANDS)
    for name in ("train", "classify"):
        missing = subprocess.run([programs / "odn", name, "--help"], capture_output=True, text=True, check=False)
        assert (missing.returncode, missing.stderr.count("\n")) == (2, 1) and f"odn {name} needs" in missing.stderr


def test_classify_needs_numpy_and_pillow_only_to_be_asked_for_help(programs):
    installed = subprocess.run(
        [programs / "python", "-m", "pip", "install", "--quiet", *FOR_CLASSIFY],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(
            f"pip cannot install {' and '.join(FOR_CLASSIFY)} here: {installed.stderr.strip().splitlines()[-1]}"
        )
    printed = run(programs / "odn", "classify", "--help")
    assert "--labels" in printed and printed == run(programs / "python", "-m", "odn_keras.classify", "--help")
