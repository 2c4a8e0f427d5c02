"""TFLite Micro: runs a file as a microcontroller does, and measures its working memory."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import numpy as np

from odn_keras.deploy.runtimes import LiteRTClassifier, TensorClassifier, open_interpreter, read_file
from odn_keras.deploy.tflite_file.flatbuffer import activations_of, check_integer, read_model
from odn_keras.errors import InputError
from odn_keras.networks.memory_plan import ALIGNMENT, least_bytes
from odn_keras.quiet import quiet_in_commands

KIB = 1024
PLENTY = 16  # times the activations' least memory, and as many KiB
LARGEST = 2**30
TOO_SMALL = re.compile(r"Requested: \d+, available \d+, missing")  # what TFLite Micro says then, if it does not crash
FAILED_OPERATOR = re.compile(r"Node (\w+) \(number \w+\) failed")
MISSING_OPERATOR = re.compile(r"Didn't find op for (?:builtin|custom) opcode '(\w+)'")


class MicroClassifier(TensorClassifier):
    """A classifier in TFLite Micro's portable kernels.

    Args:
        path: an integer `.tflite` file with one image input and one output.
        arena_bytes: size of the arena; default: plenty.

    Raises:
        InputError: where TFLite Micro is not installed, or cannot run the file in that arena.
    """

    def __init__(self, path: str | os.PathLike[str], arena_bytes: int | None = None):
        _check(path)
        LiteRTClassifier(path)
        from tflite_micro import runtime

        content = read_file(path)
        arena_bytes = arena_bytes or PLENTY * (_least(content) + KIB)
        try:
            with quiet_in_commands():
                self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
                self._interpreter.invoke()  # some operators fail only here
        except RuntimeError as error:
            _refuse_unless_too_small(path, _tried(path, arena_bytes))
            raise InputError(f"TFLite Micro cannot run {path} in an arena of {arena_bytes} bytes ({error})") from error
        details = self._interpreter.get_input_details(0), self._interpreter.get_output_details(0)
        for one in details:
            quantization = one["quantization_parameters"]
            one["quantization"] = quantization["scales"][0], quantization["zero_points"][0]
        super().__init__(path, *details)

    def _invoke(self, tensor: np.ndarray) -> np.ndarray:
        self._interpreter.set_input(tensor, 0)
        self._interpreter.invoke()
        return self._interpreter.get_output(0).copy()


def measure_arena(path: str | os.PathLike[str]) -> int:
    """The smallest arena, in bytes and a multiple of 16, in which TFLite Micro runs an integer file; by bisection.

    Each try is a process of its own, for TFLite Micro can crash where the arena is too small.

    Raises:
        InputError: where TFLite Micro is not installed or cannot run the file at all.
    """
    _check(path)
    step = ALIGNMENT
    least = _least(read_file(path))
    enough = min(PLENTY * (least + KIB), LARGEST)
    while (tried := _tried(path, enough)).returncode:
        _refuse_unless_too_small(path, tried)
        if enough == LARGEST:
            raise InputError(f"TFLite Micro cannot run {path} in an arena of {LARGEST} bytes")
        enough = min(2 * enough, LARGEST)
    enough, too_small = -(-enough // step), least // step - 1
    while (guess := too_small + KIB) < enough and _tried(path, guess * step).returncode:
        too_small = guess
    enough = min(guess, enough)
    while enough - too_small > 1:
        middle = (too_small + enough) // 2
        if _tried(path, middle * step).returncode:
            too_small = middle
        else:
            enough = middle
    return enough * step


def _check(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` for damaged files, on which TFLite Micro would crash, and float ones."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise InputError("this needs TFLite Micro: pip install 'odn_keras[micro]'")
    open_interpreter(path)
    check_integer(read_model(read_file(path)))


def _least(content: bytes) -> int:
    return least_bytes(list(activations_of(read_model(content)).values()))


def _tried(path: str | os.PathLike[str], arena_bytes: int) -> subprocess.CompletedProcess[str]:
    """Runs the file once in that arena, in another process: its exit status, and the output of TFLite Micro."""
    command = [sys.executable, "-m", __name__, os.fspath(path), str(arena_bytes)]
    return subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")


def _refuse_unless_too_small(path: str | os.PathLike[str], tried: subprocess.CompletedProcess[str]) -> None:
    """Raises `InputError` with the reason for which TFLite Micro could run the file in no arena."""
    said = tried.stdout + tried.stderr
    if missing := MISSING_OPERATOR.search(said):
        raise InputError(f"TFLite Micro has no operator {missing[1]}, which this network needs")
    if TOO_SMALL.search(said) or not tried.returncode:
        return
    native = said.partition("Traceback (most recent call last)")[0].split("\n")
    reason = next((" ".join(line.split()) for line in native if line.strip()), f"status {tried.returncode}")
    failed = FAILED_OPERATOR.search(said)
    what = f"the operator {failed[1]} of {path}" if failed else os.fspath(path)
    raise InputError(f"TFLite Micro cannot run {what}, in any arena ({reason})")


if __name__ == "__main__":
    import resource

    from tflite_micro import runtime

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is an answer

    runtime.Interpreter.from_bytes(pathlib.Path(sys.argv[1]).read_bytes(), arena_size=int(sys.argv[2])).invoke()
