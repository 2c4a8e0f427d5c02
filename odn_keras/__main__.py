"""The program `odn`: `odn train ...` is `python -m odn_keras.train ...`, and so on for every command."""

import ast
import importlib.util
import runpy
import sys

from odn_keras import __version__
from odn_keras.utils import console, interrupts

COMMANDS = ("train", "export", "evaluate", "classify", "specialize", "route", "latency", "compare")
BAD_INPUT = 2


def main() -> int:
    """Runs the command that the first argument names, with the others; returns the exit status."""
    interrupts.end_with_a_word()
    console.never_fail()
    name, *arguments = sys.argv[1:] or [""]
    if name in ("help", "-h", "--help"):
        print(_overview())
    elif name == "--version":
        print(__version__)
    elif name in COMMANDS:
        return _run(name, arguments)
    else:
        problem = f"unknown command '{console.printable(name)}'" if name else "a command is missing"
        print(f"error: {problem}; there are {', '.join(COMMANDS)}; see odn --help", file=sys.stderr)
        return BAD_INPUT
    return 0


def _run(name: str, arguments: list[str]) -> int:
    """Runs a command, which ends this program itself; returns only where a package that it needs is missing."""
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(f"odn_keras.{name}", run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or importlib.util.find_spec(package):
            raise
        print(f"error: odn {name} needs the module {package}, which is not installed", file=sys.stderr)
        return BAD_INPUT
    return 0


def _overview() -> str:
    """What `odn --help` prints."""
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: odn COMMAND [--flag=value ...]\n",
            *(f"  {name:{width}}  {_summary(name)}" for name in COMMANDS),
            "\nodn COMMAND --help lists the flags of a command; odn COMMAND is python -m odn_keras.COMMAND",
        ]
    )


def _summary(name: str) -> str:
    """The first line of a command's docstring, without importing the command."""
    spec = importlib.util.find_spec(f"odn_keras.{name}")
    source = spec.loader.get_source(spec.name)  # type: ignore[union-attr]
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
