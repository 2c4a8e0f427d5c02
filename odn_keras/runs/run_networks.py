"""Loads the networks of a finished run, and compares them with its report."""

import pathlib
from typing import Any

import keras

from odn_keras.errors import InputError
from odn_keras.networks import builder, cost
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.run_files import MODEL, SUPERNET


def load_model(run: str | pathlib.Path, report: dict[str, Any]) -> keras.Model:
    """The network that a run has found.

    Raises:
        InputError: where its file cannot be read, or is not of this run.
    """
    path = pathlib.Path(run, MODEL)
    network = builder.load(path)
    params, expected = cost.params(network), report.get("params")
    if expected not in (None, params):
        raise InputError(
            f"{path} is not of the run that report.json is of: it has {params:,} parameters, not {expected:,}"
        )
    return network


def load_supernet(run: str | pathlib.Path, report: dict[str, Any]) -> keras.Model:
    """The network that holds a run's smaller ones; the report is one that `finished_supernet` returned.

    Raises:
        InputError: where its file cannot be read, or is not of this run.
    """
    path = pathlib.Path(run, SUPERNET)
    network = builder.load(path)
    expected = layer_weights(builder.build(NetworkSpec(**report["supernet"]["spec"]), report["depth"]))
    found = layer_weights(network)
    for layer in [*expected, *found]:
        if expected.get(layer) != found.get(layer):
            raise InputError(
                f"{path} is not of the run that report.json is of: the weights of its layer {layer} are "
                f"{found.get(layer, 'missing')}, not {expected.get(layer, 'there')}"
            )
    return network


def layer_weights(network: keras.Model) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of the weights, layer by layer."""
    return {layer.name: [tuple(w.shape) for w in layer.weights] for layer in network.layers if layer.weights}
