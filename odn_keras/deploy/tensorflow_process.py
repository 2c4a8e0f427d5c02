"""Calling what needs TensorFlow when another backend runs Keras: a backend is chosen once a process."""

import importlib.util
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import keras

from odn_keras.builder import load
from odn_keras.errors import InputError


def call(function: Callable, network: keras.Model, *arguments) -> Any:
    """Returns `function(network, *arguments)`, computed here or, on another backend, in a process that has TensorFlow.

    That process uses no GPU, whose memory this one may hold. What it prints appears.

    Args:
        function: of a module, so that the other process can import it; it returns what can be pickled.
        network: is sent as a `.keras` file.
        arguments: are pickled.

    Raises:
        InputError: where TensorFlow is missing, or as the function does.
    """
    check_installed()
    if keras.backend.backend() == "tensorflow":
        return function(network, *arguments)
    with tempfile.TemporaryDirectory() as folder:
        model_file, call_file, result_file = (pathlib.Path(folder, name) for name in ("model.keras", "call", "result"))
        network.save(model_file)
        call_file.write_bytes(pickle.dumps((function, arguments)))
        process = subprocess.run(
            [sys.executable, "-m", __name__, model_file, call_file, result_file],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        if process.returncode != 0:
            raise RuntimeError(f"the TensorFlow process that exports failed:\n{process.stderr}")
        result = pickle.loads(result_file.read_bytes())
    if isinstance(result, InputError):
        raise result
    return result


def check_installed() -> None:
    """Raises `InputError` where TensorFlow is missing."""
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError("export needs TensorFlow, whatever the backend: pip install 'odn_keras[tensorflow]'")


def _answer(model_file: str, call_file: str, result_file: str) -> None:
    try:
        function, arguments = pickle.loads(pathlib.Path(call_file).read_bytes())
        result = function(load(model_file), *arguments)
    except InputError as error:
        result = error
    pathlib.Path(result_file).write_bytes(pickle.dumps(result))


if __name__ == "__main__":
    _answer(*sys.argv[1:])
