"""Calls functions that need TensorFlow while another backend runs Keras: a process has one backend only."""

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

from odn_keras.errors import InputError
from odn_keras.networks.copying import custom_objects


def call(function: Callable, network: keras.Model, *arguments) -> Any:
    """Returns `function(network, *arguments)`, computed here or, on another backend, in a process that has TensorFlow.

    That process uses no GPU, whose memory this one may hold. What it prints appears.

    Args:
        function: of a module, so that the other process can import it; it returns what can be pickled.
        network: is sent as a `.keras` file, its own classes beside it: by the name of their module or, of those that
            no other process can import, by value where `cloudpickle` is installed.
        arguments: are pickled.

    Raises:
        InputError: where TensorFlow is missing or cannot rebuild the network, or as the function does.
    """
    check_installed()
    if keras.backend.backend() == "tensorflow":
        return function(network, *arguments)
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, name) for name in ("model.keras", "objects", "call", "result")]
        model_file, objects_file, call_file, result_file = files
        network.save(model_file)
        objects_file.write_bytes(_pickled(custom_objects(network)))
        call_file.write_bytes(pickle.dumps((function, arguments)))
        process = subprocess.run(
            [sys.executable, "-m", __name__, *files],
            env={
                **os.environ,
                "KERAS_BACKEND": "tensorflow",
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),  # for the modules of these classes
            },
            check=False,
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


def _pickled(objects: dict[str, Any]) -> bytes:
    if importlib.util.find_spec("cloudpickle"):
        import cloudpickle

        return cloudpickle.dumps(objects)
    for thing in objects.values():
        if thing.__module__ == "__main__" or "<" in thing.__qualname__:  # as <locals> of a function, or a lambda
            raise InputError(
                f"the process in which TensorFlow exports cannot import {thing.__qualname__!r} of this network from "
                f"{thing.__module__}: define it in a module of its own, pip install cloudpickle, or export under "
                "KERAS_BACKEND=tensorflow"
            )
    return pickle.dumps(objects)


def _answer(model_file: str, objects_file: str, call_file: str, result_file: str) -> None:
    try:
        network = _rebuilt(model_file, objects_file)
        function, arguments = pickle.loads(pathlib.Path(call_file).read_bytes())
        result = function(network, *arguments)
    except InputError as error:
        result = error
    pathlib.Path(result_file).write_bytes(pickle.dumps(result))


def _rebuilt(model_file: str, objects_file: str) -> keras.Model:
    try:
        objects = pickle.loads(pathlib.Path(objects_file).read_bytes())
        with keras.saving.custom_object_scope(objects):
            return keras.saving.load_model(model_file, compile=False)
    except Exception as error:  # of Keras, or of the network's own classes
        reason = " ".join(str(error).split())
        raise InputError(
            f"TensorFlow, which exports, cannot rebuild this network: {type(error).__name__}: {reason[:300]}"
        ) from error


if __name__ == "__main__":
    _answer(*sys.argv[1:])
