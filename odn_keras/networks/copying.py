"""Copies of functional networks under another dtype policy: their graph, weights and state, through Keras's own saving.

What a saved file keeps a copy keeps: operations that are no layers, shared and nested layers, and state that is no
weight, such as the mean and variance of an adapted `Normalization`.
"""

import os
import tempfile
import types
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from odn_keras.errors import InputError


def copy(network: keras.Model, dtype: str) -> keras.Model:
    """A copy in plain Keras layers, all of them under one dtype policy; its inputs are float32.

    Raises:
        InputError: where a part of the network cannot be described, such as a layer without `get_config`.
    """
    try:
        description = keras.saving.serialize_keras_object(network)
        _set_dtype(description, dtype)
        with keras.saving.custom_object_scope(custom_objects(network)):
            copied = keras.saving.deserialize_keras_object(description, safe_mode=False)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping")  # a layer whose weights the file lacks
            weights = os.path.join(folder, "network.weights.h5")
            network.save_weights(weights)
            copied.load_weights(weights)
    except (NotImplementedError, TypeError, ValueError, UserWarning) as error:  # of Keras, or of a user's get_config
        reason = " ".join(str(error).split())
        raise InputError(f"the network {network.name!r} cannot be copied: {reason[:300]}") from error
    return copied


def all_layers(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a network and, each behind the one that holds it, those within them."""
    return network._flatten_layers(include_self=False)


def custom_objects(network: keras.Model) -> dict[str, Any]:
    """The classes and functions of a network that are not Keras's, by the names under which Keras looks for them."""
    found: dict[str, Any] = {}
    for layer in (network, *all_layers(network)):
        functions = (value for value in vars(layer).values() if isinstance(value, types.FunctionType))
        for thing in (type(layer), *functions):
            if thing.__module__.split(".")[0] != "keras":
                found[keras.saving.get_registered_name(thing)] = thing
    return found


def _set_dtype(description: Any, dtype: str) -> None:
    """Gives every layer that is described the dtype policy; the arguments of operations, as of a cast, stay."""
    if isinstance(description, dict):
        description.pop("compile_config", None)
        config = description.get("config")
        if isinstance(config, dict) and "class_name" in description and "dtype" in config:
            if description["class_name"] == "InputLayer":
                config["dtype"] = "float32"
            elif "trainable" in config:  # as layers have it
                config["dtype"] = dtype
        description = description.values()
    elif not isinstance(description, (list, tuple)):
        return
    for part in description:
        _set_dtype(part, dtype)
