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
    expected = builder.build(NetworkSpec(**report["supernet"]["spec"]), report["depth"])
    if differing := difference(network, expected):
        raise InputError(f"{path} is not of the run that report.json is of: {differing}")
    return network


def difference(network: keras.Model, expected: keras.Model) -> str | None:
    """The first layer whose weights have other shapes than expected, in words; `None` where there is none."""
    found, wanted = _layer_weights(network), _layer_weights(expected)
    for layer in [*wanted, *found]:
        if wanted.get(layer) != found.get(layer):
            return (
                f"the weights of its layer {layer} are {found.get(layer, 'missing')}, not {wanted.get(layer, 'there')}"
            )
    return None


def _layer_weights(network: keras.Model) -> dict[str, list[tuple[int, ...]]]:
    """The shapes of the weights, layer by layer."""
    return {layer.name: [tuple(w.shape) for w in layer.weights] for layer in network.layers if layer.weights}
