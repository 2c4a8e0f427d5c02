"""The contents of `report.json`: the network that a run has found, its sizes and its accuracies."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras

from odn_keras.data.datasets import Dataset
from odn_keras.deploy.measured_file import ExportedFile
from odn_keras.devices.accuracy import accuracies
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.stage import CYCLE
from odn_keras.networks import builder, cost, footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.start import Carried
from odn_keras.runs import overview, verdict
from odn_keras.runs.continuation import FinishedRun
from odn_keras.runs.options import RunOptions
from odn_keras.runs.report import summary
from odn_keras.runs.training_setup import network_spec
from odn_keras.utils.metric_names import ACCURACY


@dataclass(frozen=True)
class TrainedRun:
    """A run whose training is over.

    Attributes:
        network: the one found, without exits, in float32.
        supernet: the network that holds the smaller ones; `None` without exits and shrunk widths.
        spec: architecture of both.
        unpruned: the architecture before the run pruned it.
        carried: what the network had of a start; `None` without one.
        growth: how the depth was found.
        options: as given.
        fitted: the same after a budget has made the network smaller, if there is one.
        dtype: Keras dtype policy of the training.
        dataset: that it was trained on.
        data_record: what a run keeps of its data, teacher and start (see `odn_keras.runs.run_data`).
        continued: the run that it continues; `None` where there is none.
    """

    network: keras.Model
    supernet: keras.Model | None
    spec: NetworkSpec
    unpruned: NetworkSpec
    carried: Carried | None
    growth: DepthGrowth
    options: RunOptions
    fitted: RunOptions
    dtype: str
    dataset: Dataset
    data_record: dict[str, Any]
    continued: FinishedRun | None = None

    @property
    def depth(self) -> int:
        """Depth of the network found."""
        return builder.depth_of(self.network)


def describe(run: TrainedRun, file: ExportedFile, test_scores: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Measures the network on the test images; returns what `report.json` holds.

    Args:
        run: whose training is over.
        file: the network's int8 file, measured.
        test_scores: who answers -> the scores of the answers to the test images.
    """
    options, dataset, growth = run.options, run.dataset, run.growth
    stages = summary.stage_rows(growth, len(dataset.train[0]))
    deepest = run.fitted.depth or run.fitted.max_depth or run.spec.max_depth
    return {
        "dataset": options.dataset,
        "backbone": options.backbone_name,
        "width": run.spec.width,
        "stem_stride": run.spec.stem_stride,
        "depth": run.depth,
        "max_depth": run.spec.max_depth,
        "target_accuracy": options.target_accuracy,
        "target_metric": options.target_metric,
        "target_met": growth.target_met,
        **_sizes(run, file),
        "training_macs": sum(stage["training_macs"] for stage in stages),
        "epochs": round(sum(stage["epochs"] for stage in stages)),
        "stages": stages,
        "val_score": growth.best,
        "continued": run.continued.describe() if run.continued else None,
        "val_accuracy": _validation_accuracy(run),
        "pruning": _describe_pruning(run) if options.prune else None,
        "supernet": None if run.supernet is None else _describe_supernet(run.supernet, run),
        "test_accuracy": accuracies(run.network, dataset.test, dataset.num_classes)[0],
        "int8_test_accuracy": file.measurement.accuracy,
        "test_scores": test_scores,
        "budget": file.against(options.budget),
        "input_quantization": dataclasses.asdict(file.input),
        "output_quantization": dataclasses.asdict(file.output),
        "input": {"feed": file.feed, "largest_error_steps": file.input_error},
        "images": {
            "train": len(dataset.train[0]),
            "validation": len(dataset.validation[0]),
            "test": len(dataset.test[1]),
            "shape": list(dataset.input_shape),
        },
        "seed": options.seed,
        "backend": keras.backend.backend(),
        "precision": run.dtype,
        "learning_rate_scale": growth.rate_scale,
        "options": dataclasses.asdict(options),
        **run.data_record,
        "carried": run.carried and dataclasses.asdict(run.carried),
        "versions": summary.versions(),
        "ended": verdict.ending(growth, run.fitted, deepest),
        "budget_changes": overview.budget_changes(options, run.fitted),
    }


def _validation_accuracy(run: TrainedRun) -> float:
    """Of the network found; with accuracy as the target's metric it is known."""
    if run.options.target_metric == ACCURACY:
        return run.growth.best
    return accuracies(run.network, run.dataset.validation, run.dataset.num_classes)[0]


def _sizes(run: TrainedRun, file: ExportedFile) -> dict[str, Any]:
    """Sizes of the network found beside those of the full network that the options ask for."""
    wanted = network_spec(run.options, run.dataset)
    full = builder.build(wanted, wanted.max_depth)
    kernels = run.options.budget.kernels
    params, full_params = cost.params(run.network), cost.params(full)
    full_bytes = cost.float_bytes(full_params)
    return {
        "params": params,
        "full_params": full_params,
        "param_reduction": 1 - params / full_params,
        "macs": cost.macs(run.network),
        "full_macs": cost.macs(full),
        "tflite_bytes": file.bytes,
        "predicted_arena_bytes": footprint.arena_bytes(run.spec, run.depth, kernels),
        "full_arena_bytes": footprint.arena_bytes(wanted, wanted.max_depth, kernels),
        "float_full_bytes": full_bytes,
        "memory_reduction": 1 - file.bytes / full_bytes,
    }


def _describe_pruning(run: TrainedRun) -> dict[str, Any]:
    """Sizes and accuracies of the network found before and after pruning."""
    before = cost.params(builder.build(run.unpruned, run.depth))
    accuracies_before = [stage.best for stage in run.growth.stages if stage.phase == CYCLE and stage.depth == run.depth]
    return {
        "sparsity": run.options.prune,
        "streams": run.options.prune_streams,
        "params_before": before,
        "val_accuracy_before": max(accuracies_before),
        "param_reduction": 1 - cost.params(run.network) / before,
        "inner": run.spec.inner,
        "stream": run.spec.stream,
    }


def _describe_supernet(supernet: keras.Model, run: TrainedRun) -> dict[str, Any]:
    """Architecture of the network that holds the smaller ones, and validation accuracy of each of its outputs."""
    depth = builder.depth_of(supernet)
    found = accuracies(supernet, run.dataset.validation, run.dataset.num_classes)
    return {
        "spec": dataclasses.asdict(run.spec),
        "widths": run.options.shrink_epochs > 0,
        "val_accuracy": dict(zip((*run.spec.exits_before(depth), depth), found, strict=True)),
    }
