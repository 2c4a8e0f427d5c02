"""One run, from a dataset to a measured `.tflite`: what `python -m odn_keras.train` does."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from typing import Any

import keras
import numpy as np

from odn_keras.data.augmentation import Augmentation, label_smoothing, may_mirror, preset
from odn_keras.data.batches import Batches, EvaluationBatches
from odn_keras.data.datasets import Dataset
from odn_keras.data.share import Share
from odn_keras.deploy.convert import tensorflow_process
from odn_keras.deploy.convert.tflite import MIN_CALIBRATION_IMAGES
from odn_keras.deploy.measured_file import export_measured
from odn_keras.devices.finetuning import Recipe
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json, write_lines
from odn_keras.growing import distribution
from odn_keras.growing.checkpoint import Checkpoint
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.distillation import Distillation, check_teacher, student
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
from odn_keras.growing.optimizers import sgd
from odn_keras.growing.precision import precision
from odn_keras.growing.stage import CYCLE
from odn_keras.networks import builder, cost, footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.budget import Budget
from odn_keras.prune import ChannelPruning
from odn_keras.runs import overview, report, verdict
from odn_keras.runs.options import DataOptions, RunOptions
from odn_keras.runs.run_data import data_options, load_by_options, load_data, record_of, teacher_record
from odn_keras.runs.run_folder import SHOWN, SUPERNET, RunFolder
from odn_keras.utils import keras_config

EVALUATION_BATCH = 500


def run(
    options: RunOptions, out: str | os.PathLike, *, overwrite: bool = False, resume: bool = False
) -> dict[str, Any] | None:
    """Trains by progressive depth expansion, exports, measures, and leaves everything in a folder.

    Under a `keras.distribution` of several processes each of them calls this; process 0 alone writes.

    Args:
        options: of the run.
        out: the run's folder, made if need be.
        overwrite: whether the run that `out` holds may be replaced.
        resume: whether the run that `out` holds is gone on with, from its last checkpoint; one that is finished is
            left as it is, and where there is none it begins.

    Returns:
        What `report.json` holds; `None` in other processes than process 0.

    Raises:
        InputError: for data, a folder or a configuration of Keras that cannot be used, for data that are no longer
            those of the run to resume, or another teacher, or without TensorFlow, which exports under any backend;
            nothing is written then.
        TrainingDiverged: where the loss becomes NaN or explodes, twice; `model.keras` then holds the best weights from
            before that.
    """
    keras_config.check()
    share = distribution.current()
    folder = RunFolder(pathlib.Path(out).expanduser())
    found = json.loads(distribution.from_chief(lambda: _look(folder, options, overwrite=overwrite, resume=resume)))
    if found["report"]:
        return found["report"] if share.is_chief else None
    dtype, resumed = found["precision"], found["resumed"]
    # All that can be checked is checked before anything of an earlier run is removed.
    with distribution.together(), distribution.local():
        taught = teacher_record(options.teacher, resumed)
        dataset, data_record = _load(options, share, folder, resumed)
        data_record |= taught
        fitted = _within_budget(options, dataset)
        batches = training_batches(fitted, dataset, share)
        if pruning := _pruning(fitted):
            spec = dataclasses.replace(network_spec(fitted, dataset), exits=fitted.exit_depths)
            pruning.check(spec, fitted.depth or 1, fitted.max_depth or spec.max_depth)
        if share.processes > 1:
            _teacher(taught["teacher_path"], dataset)  # which one of them may lack
    teacher = _teacher(taught["teacher_path"], dataset)
    keras.utils.set_random_seed(fitted.seed)  # only now: a teacher draws numbers too
    model = new_model(fitted, dataset, dtype, depth=fitted.depth or 1, teacher=teacher)
    with contextlib.ExitStack() as claim:
        with distribution.together():
            if share.is_chief:
                claim.enter_context(folder.claimed(options, dtype, data_record, overwrite=overwrite, resume=resume))
        if share.is_chief:
            steps = len(dataset.train[0]) // fitted.batch_size
            print(overview.describe_data(dataset))
            print(overview.describe_network(options, fitted, model.spec))
            print(overview.describe_goal(fitted, steps, dtype), flush=True)
            report.plot_augmentation(batches, dataset.class_names, folder.path / "augmentation.png")
        with distribution.noticing_loss():
            growth = _grow(model, fitted, dataset, batches, share, folder)
        if not share.is_chief:
            return None
        with distribution.local():
            network = _save_end(model.network, model.spec, folder.path)
            supernet = None
            if len(model.network.outputs) > 1 or options.shrink_epochs:
                supernet = _save(model.network, folder.path / SUPERNET)
            title = f"{pathlib.Path(fitted.dataset).name}, {fitted.backbone}, width {fitted.width}"
            report.plot_growth(growth, title, folder.path / "growth.png")
            result = _deploy(network, supernet, growth, model.spec, options, dtype, dataset, data_record, folder.path)
            result["ended"] = verdict.ending(growth, fitted, fitted.depth or fitted.max_depth or model.spec.max_depth)
            result["budget_changes"] = overview.budget_changes(options, fitted)
            write_json(result, folder.path / "report.json")
        folder.finish()
    return result


def _within_budget(options: RunOptions, dataset: Dataset) -> RunOptions:
    """The options with width, stem, deepest network and exits such that `max_flash` and `max_arena` are kept."""
    budget = Budget.parse(options.max_flash, options.max_arena)
    if not budget:
        return options
    spec, deepest = budget.fit(network_spec(options, dataset), options.depth or 1)
    deepest = min(deepest, options.depth or options.max_depth or deepest)
    exits = ",".join(str(depth) for depth in options.exit_depths if depth <= deepest) or None
    return dataclasses.replace(options, width=spec.width, stem_stride=spec.stem_stride, max_depth=deepest, exits=exits)


def network_spec(options: RunOptions, dataset: Dataset) -> NetworkSpec:
    """The networks that the options ask for, whatever a budget makes of them."""
    return NetworkSpec(options.backbone, dataset.input_shape, dataset.num_classes, options.width, options.stem_stride)


def _pruning(options: RunOptions) -> ChannelPruning | None:
    return ChannelPruning(options.prune, streams=options.prune_streams) if options.prune else None


def _teacher(path: str | None, dataset: Dataset) -> keras.Model | None:
    if path is None:
        return None
    teacher = builder.load(path)
    check_teacher(teacher, dataset.input_shape, dataset.num_classes)
    return teacher


def new_model(
    options: RunOptions, dataset: Dataset, dtype: str, depth: int = 1, teacher: keras.Model | None = None
) -> OptimallyDeepNetwork:
    """The model of a run before its training, compiled; `dtype` is the Keras dtype policy."""
    model = OptimallyDeepNetwork(
        options.backbone,
        dataset.input_shape,
        dataset.num_classes,
        width=options.width,
        stem_stride=options.stem_stride,
        depth=depth,
        dtype=dtype,
        exits=options.exit_depths,
        teacher=teacher,
        distillation=Distillation(options.alpha, options.temperature, options.exit_weight),
    )
    model.compile(
        sgd(options.learning_rate, options.weight_decay),
        loss="categorical_crossentropy",
        metrics=None,
        weighted_metrics=["accuracy"],  # on several devices the validation has images without weight
    )
    return model


def augmentation_of(options: RunOptions, dataset: Dataset) -> Augmentation:
    """The augmentation of a run: its preset, with the values that are given singly."""
    mirror = may_mirror(dataset.class_names, dataset.input_shape[-1])
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Augmentation)}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(preset(options.augment, dataset.input_shape, mirror=mirror), **given)


def training_batches(options: RunOptions, dataset: Dataset, share: Share | None = None) -> Batches:
    """The training batches of a run."""
    return Batches(
        dataset.train,
        dataset.num_classes,
        options.batch_size,
        options.seed,
        augmentation_of(options, dataset),
        label_smoothing(options.augment) if options.label_smoothing is None else options.label_smoothing,
        share,
    )


def recipe_of(options: RunOptions, dataset: Dataset) -> Recipe:
    """How a run trains a network of its own, to train another one on its data likewise."""
    batches = training_batches(options, dataset)
    everything = dataclasses.asdict(options)
    return Recipe(batches, options.learning_rate, options.weight_decay, options.seed, everything)


def _look(folder: RunFolder, options: RunOptions, *, overwrite: bool, resume: bool) -> bytes:
    """What there is to know before the data are loaded, as JSON: the report of a finished run, else the precision."""
    folder.check(options, overwrite=overwrite, resume=resume)
    if resume and (finished := folder.report(*SHOWN)):
        return json.dumps({"report": finished}).encode()
    tensorflow_process.check_installed()  # now, not when all is trained
    record = folder.record() if resume and folder.unfinished else None
    dtype = record["precision"] if record else precision(options.precision)
    return json.dumps({"report": None, "precision": dtype, "resumed": record}).encode()


def _load(
    options: RunOptions, share: Share, folder: RunFolder, resumed: dict[str, Any] | None
) -> tuple[Dataset, dict[str, Any]]:
    """The data, of a run that is resumed those that it was begun on; and what it keeps of them."""
    if options.batch_size % share.devices:
        raise InputError(f"--batch_size must be divisible by the {share.devices} devices, got {options.batch_size}")
    wanted = DataOptions(**{field.name: getattr(options, field.name) for field in dataclasses.fields(DataOptions)})
    if resumed:
        before = resumed["options"]
        given = {name: now for name, now in dataclasses.asdict(wanted).items() if now != before.get(name)}
        wanted = data_options(resumed, given)
        dataset = load_data(resumed, wanted, folder.path, folder.disk)
    else:
        dataset = load_by_options(wanted, folder.disk)
    if len(dataset.train[0]) < options.batch_size:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images, "
            f"fewer than a batch of {options.batch_size}: lower --batch_size"
        )
    if len(dataset.train[0]) < MIN_CALIBRATION_IMAGES:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images: "
            f"the int8 export is calibrated on at least {MIN_CALIBRATION_IMAGES}"
        )
    return dataset, record_of(dataset, wanted)


def _grow(
    model: OptimallyDeepNetwork,
    options: RunOptions,
    dataset: Dataset,
    batches: Batches,
    share: Share,
    folder: RunFolder,
) -> DepthGrowth:
    """Trains the model, from the folder's checkpoint if there is one."""
    growth = DepthGrowth(
        options.target_accuracy,
        max_depth=options.depth or options.max_depth,
        cycle_epochs=options.first_cycle if options.depth else options.cycle_epochs,
        freeze=options.freeze,
        slack=options.slack,
        shrink_epochs=options.shrink_epochs,
        verbose=1 if share.is_chief else 0,
    )
    evaluation_batch = -(-EVALUATION_BATCH // share.devices) * share.devices
    shown = 1 if sys.stdout.isatty() else 2  # in a log file, one line an epoch instead of a moving bar
    callbacks = [growth, Checkpoint(folder.checkpoint)]
    if pruning := _pruning(options):
        callbacks.append(pruning)
    callbacks.append(_Recorder(growth, model.spec, dataset.class_names, folder.path))
    try:
        model.fit(
            batches,
            epochs=options.epochs,
            validation_data=EvaluationBatches(dataset.validation, dataset.num_classes, evaluation_batch, share),
            verbose=shown if share.is_chief else 0,
            callbacks=callbacks,
        )
    except TrainingDiverged as error:
        if not growth.best_depth:
            raise
        raise TrainingDiverged(f"{error}; the best weights before that are in {folder.path / 'model.keras'}") from error
    return growth


class _Recorder(keras.callbacks.Callback):
    """After every epoch: the history so far; after every better one: the network. Only the chief writes."""

    def __init__(self, growth: DepthGrowth, spec: NetworkSpec, class_names: tuple[str, ...], out: pathlib.Path):
        super().__init__()
        self._growth, self._spec, self._class_names, self._out = growth, spec, class_names, out
        self._is_chief = distribution.current().is_chief

    def on_train_begin(self, logs=None):
        with distribution.together():
            if self._is_chief:
                write_lines(self._class_names, self._out / "labels.txt")

    def on_epoch_end(self, epoch, logs=None):
        with distribution.together(), distribution.local():
            if self._is_chief:
                report.write_history(self.model.history.history, self._growth.stages, self._out / "history.csv")
            if self._is_chief and self._growth.improved:
                _save_end(student(self.model), self._spec, self._out)


def _save_end(network: keras.Model, spec: NetworkSpec, out: pathlib.Path) -> keras.Model:
    """Saves the network without its exits, at its full width."""
    return _save(builder.at_exit(network, spec, builder.depth_of(network)), out / "model.keras")


def _save(network: keras.Model, path: pathlib.Path) -> keras.Model:
    """Saves the network in float32, thawed and without optimizer: any backend loads it."""
    network = builder.with_dtype(network, "float32")
    builder.set_frozen(network, None)
    with replacing(path) as temporary:
        network.save(temporary)
    return network


def _deploy(
    network: keras.Model,
    supernet: keras.Model | None,
    growth: DepthGrowth,
    spec: NetworkSpec,
    options: RunOptions,
    dtype: str,
    dataset: Dataset,
    data_record: dict[str, Any],
    out: pathlib.Path,
) -> dict[str, Any]:
    """Exports the network, measures it on the test images, for the first and only time, and writes the report."""
    print("\nmeasuring the test accuracy of the float network and, in LiteRT, of the int8 file ...", flush=True)
    file = export_measured(network, dataset, out / "model.tflite")
    labels = dataset.test[1]
    probabilities = network.predict(EvaluationBatches(dataset.test, dataset.num_classes, EVALUATION_BATCH), verbose=0)

    wanted = network_spec(options, dataset)
    full = builder.build(wanted, wanted.max_depth)
    full_bytes = cost.float_bytes(cost.params(full))
    stages = report.stage_rows(growth, len(dataset.train[0]))
    result = {
        "dataset": options.dataset,
        "backbone": options.backbone,
        "width": spec.width,
        "stem_stride": spec.stem_stride,
        "depth": builder.depth_of(network),
        "max_depth": spec.max_depth,
        "target_accuracy": options.target_accuracy,
        "target_met": growth.target_met,
        "params": cost.params(network),
        "full_params": cost.params(full),
        "param_reduction": 1 - cost.params(network) / cost.params(full),
        "macs": cost.macs(network),
        "full_macs": cost.macs(full),
        "training_macs": sum(stage["training_macs"] for stage in stages),
        "epochs": round(sum(stage["epochs"] for stage in stages)),
        "stages": stages,
        "val_accuracy": growth.best,
        "pruning": _pruned(network, growth, spec, options, dataset),
        "supernet": supernet and _supernet(supernet, spec, options, dataset),
        "test_accuracy": float(np.mean(probabilities.argmax(axis=-1) == labels)),
        "int8_test_accuracy": file.measurement.accuracy,
        "tflite_bytes": file.bytes,
        "predicted_arena_bytes": footprint.arena_bytes(spec, builder.depth_of(network)),
        "full_arena_bytes": footprint.arena_bytes(wanted, wanted.max_depth),
        "budget": file.against(Budget.parse(options.max_flash, options.max_arena)),
        "float_full_bytes": full_bytes,
        "memory_reduction": 1 - file.bytes / full_bytes,
        "input_quantization": dataclasses.asdict(file.input),
        "output_quantization": dataclasses.asdict(file.output),
        "input": {"feed": file.feed, "largest_error_steps": file.input_error},
        "images": {
            "train": len(dataset.train[0]),
            "validation": len(dataset.validation[0]),
            "test": len(labels),
            "shape": list(dataset.input_shape),
        },
        "seed": options.seed,
        "backend": keras.backend.backend(),
        "precision": dtype,
        "learning_rate_scale": growth.rate_scale,
        "options": dataclasses.asdict(options),
        **data_record,
        "versions": report.versions(),
    }
    write_json(result, out / "report.json")
    return result


def _pruned(
    network: keras.Model, growth: DepthGrowth, spec: NetworkSpec, options: RunOptions, dataset: Dataset
) -> dict[str, Any] | None:
    """What pruning made of the network that was found; `None` where nothing was to be pruned."""
    if not options.prune:
        return None
    depth = builder.depth_of(network)
    found = builder.build(dataclasses.replace(network_spec(options, dataset), width=spec.width), depth)
    before = [stage.best for stage in growth.stages if stage.phase == CYCLE and stage.depth == depth]
    return {
        "sparsity": options.prune,
        "streams": options.prune_streams,
        "params_before": cost.params(found),
        "val_accuracy_before": max(before),
        "param_reduction": 1 - cost.params(network) / cost.params(found),
        "inner": spec.inner,
        "stream": spec.stream,
    }


def _supernet(network: keras.Model, spec: NetworkSpec, options: RunOptions, dataset: Dataset) -> dict[str, Any]:
    """What the network with the smaller ones in it is, and how accurate each of its outputs is on validation data."""
    depth = builder.depth_of(network)
    batches = EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH)
    outputs = keras.tree.flatten(network.predict(batches, verbose=0))
    accuracies = [float(np.mean(output.argmax(axis=-1) == dataset.validation[1])) for output in outputs]
    return {
        "spec": dataclasses.asdict(spec),
        "widths": options.shrink_epochs > 0,
        "val_accuracy": dict(zip((*spec.exits_before(depth), depth), accuracies, strict=True)),
    }
