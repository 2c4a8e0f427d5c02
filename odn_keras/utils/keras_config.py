"""Checks Keras's global configuration before a training begins."""

import importlib.util
import json
import os
import pathlib

from odn_keras.errors import InputError

BACKENDS = ("tensorflow", "jax", "torch")


def check_before_import() -> None:
    """Raises `InputError` for a configuration that `import keras` would end in a traceback over, or cannot train."""
    configured = _configured()
    backend, place = configured.get("backend", "tensorflow"), str(_config_file())
    if os.environ.get("KERAS_BACKEND"):
        backend, place = os.environ["KERAS_BACKEND"], "the variable KERAS_BACKEND"
    _check_backend(backend, place)
    if importlib.util.find_spec(backend) is None:
        raise InputError(
            f"Keras's backend is {backend}, by {place}, which is not installed: pip install 'odn_keras[{backend}]', or "
            f"set KERAS_BACKEND to one of {', '.join(BACKENDS)}"
        )
    _check_floatx(configured.get("floatx", "float32"), place=_config_file())
    wrong = {
        "epsilon": not isinstance(configured.get("epsilon", 1e-7), float),
        "image_data_format": configured.get("image_data_format", "") not in ("", "channels_last", "channels_first"),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise InputError(f"{_config_file()} has an impossible {name}, {configured[name]!r}: mend or delete it")


def check() -> None:
    """Raises `InputError` for a backend or float type of Keras that networks cannot be trained and exported with."""
    import keras

    _check_backend(keras.config.backend(), "the variable KERAS_BACKEND or keras.json")
    _check_floatx(keras.config.floatx(), "keras.config.set_floatx or keras.json")


def _check_backend(backend, place) -> None:
    if backend not in BACKENDS:
        raise InputError(
            f"Keras's backend is {backend!r}, by {place}: to train and export it must be one of {', '.join(BACKENDS)}; "
            "set KERAS_BACKEND"
        )


def _check_floatx(floatx, place) -> None:
    if floatx != "float32":
        raise InputError(
            f"Keras's floatx is {floatx!r}, by {place}: networks are trained and exported in float32 only; set it back "
            "(for half precision take --precision=mixed_bfloat16)"
        )


def _config_file() -> pathlib.Path:
    """The path at which Keras looks for keras.json."""
    home = os.path.expanduser("~")
    default = pathlib.Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return pathlib.Path(os.path.expanduser(os.environ.get("KERAS_HOME", default)), "keras.json")


def _configured() -> dict:
    """The contents of keras.json; empty where there is none, or none that Keras could read."""
    try:
        configured = json.loads(_config_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(configured, dict):
        raise InputError(f"{_config_file()} is no JSON object: mend or delete it")
    return configured
