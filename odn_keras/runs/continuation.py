"""Continues a finished run: its network, at the depth found, is what another run begins with."""

import pathlib
from dataclasses import dataclass
from typing import Any

import keras

from odn_keras.data.datasets import Dataset
from odn_keras.errors import InputError
from odn_keras.growing.checks import AccuracyCheck
from odn_keras.networks import backbones, builder
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.finished_run import finished_report, in_use
from odn_keras.runs.options import RunOptions
from odn_keras.runs.run_networks import difference, load_model, load_supernet
from odn_keras.utils.metric_names import in_words


@dataclass(frozen=True)
class FinishedRun:
    """The run that another one continues.

    Attributes:
        run: the folder of the finished run.
        network: its network, with its exits, in float32.
        depth: of that.
        metric: of the target.
        val_score: of the network by that metric, on the present validation images.
    """

    run: str
    network: keras.Model
    depth: int
    metric: str
    val_score: float

    def describe(self) -> dict[str, Any]:
        """What `report.json` has of it."""
        return {"run": self.run, "depth": self.depth, "val_score": self.val_score}

    def __str__(self) -> str:
        score = f"validation {in_words(self.metric)} {self.val_score:.4f}"
        return f"continues with the network of {self.run}: depth {self.depth}, {score}"


def load_finished(options: RunOptions, dataset: Dataset) -> FinishedRun | None:
    """Loads the run that is to be continued; `None` where there is none.

    Raises:
        InputError: where there is no such finished run, or it has other classes or another depth than wanted.
    """
    if options.continue_from is None:
        return None
    run = pathlib.Path(options.continue_from)
    with in_use(run):
        report = finished_report(run, "depth", "data")
        backbone = backbones.canonical(report["options"]["backbone"])
        if backbone != options.backbone:
            there = backbones.difference(backbone, options.backbone)
            raise InputError(f"the network of {run} has --backbone={there}: leave it out")
        for name in ("width", "stem_stride"):
            if report.get(name) != getattr(options, name):
                raise InputError(
                    f"the network of {run} has --{name}={report.get(name)}, not {getattr(options, name)}: leave it out"
                )
        found = tuple(report["data"]["class_names"]) if report["data"] else None
        if found != dataset.class_names:
            raise InputError(
                f"{run} has other classes than {options.dataset}: continue_from needs the same in one order"
            )
        if options.depth not in (None, report["depth"]):
            raise InputError(f"the network of {run} has depth {report['depth']}, not {options.depth}: leave depth out")
        network = load_supernet(run, report) if report.get("supernet") else load_model(run, report)
    if tuple(network.input_shape[1:]) != dataset.input_shape:
        raise InputError(f"the network of {run} takes images of {network.input_shape[1:]}, not {dataset.input_shape}")
    score = AccuracyCheck(*dataset.validation).score(network, options.target_metric)
    return FinishedRun(str(run), network, report["depth"], options.target_metric, score)


def same_network(finished: FinishedRun, spec: NetworkSpec, dtype: str) -> tuple[keras.Model, NetworkSpec]:
    """The network that a run begins with, built for its training, and the spec of it.

    Args:
        finished: the run that it continues.
        spec: the architecture that the options ask for.
        dtype: Keras dtype policy.

    Raises:
        InputError: where that is another architecture.
    """
    spec = builder.spec_of(finished.network, spec)
    network = builder.build(spec, finished.depth, dtype)
    if differing := difference(finished.network, network):
        raise InputError(
            f"the options ask for another network than {finished.run}: {differing}; leave out what the run has already"
        )
    builder.transfer_weights(finished.network, network)
    return network, spec
