"""The program `odn`: it does what `python -m odn_keras.COMMAND` does."""

import signal
import subprocess
import sys
import time

import build_files
import pytest

from odn_keras import __main__ as odn
from odn_keras import __version__

PROGRAM = [sys.executable, "-c", "import sys; from odn_keras.__main__ import main; sys.exit(main())"]


def run(*arguments):
    """What the program answers: (exit status, stdout, stderr)."""
    result = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def test_every_module_that_is_a_command_is_listed():
    marker = 'if __name__ == "__main__":'
    commands = {path.stem for path in build_files.PACKAGE.glob("[!_]*.py") if marker in path.read_text()}
    assert commands == set(odn.COMMANDS) == set(build_files.COMMANDS)


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_the_commands_on_one_screen(flag):
    status, printed, error = run(flag)
    assert (status, error) == (0, "") and printed.count("\n") <= 24
    for name in odn.COMMANDS:
        assert f"\n  {name} " in printed


def test_the_version_is_printed():
    assert run("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["trian"], ["--dataset=mnist"], ["two\nlines"], ["utils"]])
def test_an_unknown_command_is_one_line(arguments):
    status, printed, error = run(*arguments)
    assert (status, printed, error.count("\n")) == (2, "", 1) and error.startswith("error: ") and "train" in error


@pytest.mark.parametrize("arguments", [["train", "--help"], ["train", "--widht=3"], ["classify", "--top=0", "a", "b"]])
def test_a_command_answers_as_its_module(arguments):
    name, *others = arguments
    module = subprocess.run(
        [sys.executable, "-m", f"odn_keras.{name}", *others], capture_output=True, text=True, check=False
    )
    assert run(*arguments) == (module.returncode, module.stdout, module.stderr)


def test_python_m_with_the_package_is_the_same_program():
    result = subprocess.run([sys.executable, "-m", "odn_keras", "trian"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == run("trian")


@pytest.mark.parametrize("after", [0.0, 0.03])
def test_an_interrupt_while_a_command_is_loaded_is_a_word(after, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *PROGRAM[1:], "export", f"--run={tmp_path}", "--help"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    for line in process.stderr:
        if "absl" in line:  # the program does not import it, the command does
            break
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    error = process.stderr.read()
    assert "Traceback" not in error and process.wait() in (130, 1), error
