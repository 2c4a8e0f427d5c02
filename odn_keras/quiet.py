"""Silences stdout and stderr of native libraries.

File descriptors, `sys.stdout` and the filters of warnings belong to the whole process: while one thread is in a quiet
block, what the others print is swallowed as well. So only conversion and our own commands have such blocks; what a
server uses, the classifiers, has none.
"""

import contextlib
import io
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from odn_keras.errors import InputError

DESCRIPTORS = (1, 2)
_lock = threading.RLock()


class _Silence:
    """Output redirected for all blocks that are quiet at the same time: the first redirects, the last restores."""

    def __init__(self) -> None:
        self.blocks = 0
        _flush()
        self.saved = {number: os.dup(number) for number in DESCRIPTORS if _is_open(number)}
        self.native = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        self.python = io.StringIO()
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(contextlib.redirect_stdout(self.python))
            stack.enter_context(contextlib.redirect_stderr(self.python))
            for number in self.saved:
                os.dup2(self.native.fileno(), number)
            self.restore_python = stack.pop_all()

    def lengths(self) -> tuple[int, int]:
        return os.fstat(self.native.fileno()).st_size, len(self.python.getvalue())

    def show(self, since: tuple[int, int]) -> None:
        native = os.pread(self.native.fileno(), self.lengths()[0] - since[0], since[0])
        python = self.python.getvalue()[since[1] :]
        if 2 in self.saved:
            os.write(self.saved[2], native + python.encode(errors="backslashreplace"))

    def end(self) -> None:
        for number, original in self.saved.items():
            os.dup2(original, number)
            os.close(original)
        self.restore_python.close()
        self.native.close()


@dataclass
class _Process:
    """What the process is doing.

    Attributes:
        silence: the redirected output, while any block of any thread is quiet.
        commands: how many commands of this package it runs.
    """

    silence: _Silence | None = None
    commands: int = 0


_process = _Process()


@contextlib.contextmanager
def quiet(show_on_failure: bool = True) -> Iterator[None]:
    """Context manager: silences what native code and Python print or warn; by default shows it if the block fails.

    Blocks may be nested, and threads may be in several at a time: the last one to end restores the output.
    """
    with _lock:
        _process.silence = silence = _process.silence or _Silence()
        silence.blocks += 1
        since = silence.lengths()
    try:
        yield
    except Exception as error:
        if show_on_failure and not isinstance(error, InputError):
            silence.show(since)
        raise
    finally:
        with _lock:
            silence.blocks -= 1
            if not silence.blocks:
                _process.silence = None
                silence.end()


@contextlib.contextmanager
def command() -> Iterator[None]:
    """Context manager: the process runs a command of this package, whose output may be silenced."""
    _process.commands += 1
    try:
        yield
    finally:
        _process.commands -= 1


def quiet_in_commands() -> contextlib.AbstractContextManager[None]:
    """`quiet` in a command of this package; does nothing in any other program.

    For the runtimes, which greet with a line on stderr (`Created TensorFlow Lite XNNPACK delegate for CPU`).
    """
    return quiet(show_on_failure=False) if _process.commands else contextlib.nullcontext()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as in a process that was started without
            stream.flush()


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
