"""Builds what a run trains with from its options and its dataset: networks, model, batches and recipe."""

import dataclasses

import keras
import numpy as np

from odn_keras.data.augmentation import Augmentation, label_smoothing, may_mirror, preset
from odn_keras.data.batches import EVALUATION_BATCH, Batches, EvaluationBatches
from odn_keras.data.class_weights import class_weights
from odn_keras.data.datasets import Dataset
from odn_keras.data.share import Share
from odn_keras.devices.finetuning import Recipe
from odn_keras.errors import InputError
from odn_keras.growing.class_score import ClassScore
from odn_keras.growing.distillation import Distillation, check_teacher
from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
from odn_keras.growing.optimizers import sgd
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.start import Start
from odn_keras.prune import ChannelPruning
from odn_keras.runs.continuation import FinishedRun, same_network
from odn_keras.runs.options import RunOptions
from odn_keras.utils.metric_names import ACCURACY


def network_spec(options: RunOptions, dataset: Dataset) -> NetworkSpec:
    """The architecture that the options ask for, without regard to a budget."""
    return NetworkSpec(
        backbone=options.backbone,
        input_shape=dataset.input_shape,
        num_classes=dataset.num_classes,
        width=options.width,
        stem_stride=options.stem_stride,
    )


def within_budget(options: RunOptions, dataset: Dataset) -> RunOptions:
    """The options with width, stem, deepest network and exits such that the limits are kept.

    Raises:
        InputError: where no network keeps them.
    """
    budget = options.budget
    if not budget.limits:
        return options
    spec, deepest = budget.fit(network_spec(options, dataset), options.depth or 1)
    deepest = min(deepest, options.depth or options.max_depth or deepest)
    exits = ",".join(str(depth) for depth in options.exit_depths if depth <= deepest) or None
    return dataclasses.replace(options, width=spec.width, stem_stride=spec.stem_stride, max_depth=deepest, exits=exits)


def pruning_of(options: RunOptions) -> ChannelPruning | None:
    """The pruning of a run; `None` without any."""
    return ChannelPruning(options.prune, streams=options.prune_streams) if options.prune else None


def check_pruning(options: RunOptions, spec: NetworkSpec, depth: int) -> None:
    """Raises `InputError` for a pruning that some network of the run, from this depth on, cannot have."""
    if pruning := pruning_of(options):
        spec = dataclasses.replace(spec, exits=options.exit_depths)
        pruning.check(spec, depth, options.depth or options.max_depth or spec.max_depth)


def load_teacher(path: str | None, dataset: Dataset) -> keras.Model | None:
    """The teacher in a file; `None` without one.

    Raises:
        InputError: where the file cannot be read, or the teacher does not fit the dataset.
    """
    if path is None:
        return None
    teacher = builder.load(path)
    check_teacher(teacher, dataset.input_shape, dataset.num_classes)
    return teacher


def load_start(path: str | None, options: RunOptions, dataset: Dataset) -> Start | None:
    """The start in a file; `None` without one.

    Raises:
        InputError: where the file cannot be read, or nothing in it fits the network that the options ask for.
    """
    return None if path is None else Start(builder.load(path), network_spec(options, dataset))


def first_depth(options: RunOptions, start: Start | None, continued: FinishedRun | None) -> int:
    """The depth at which a run begins."""
    if continued:
        return continued.depth
    if options.depth is not None:
        return options.depth
    return min(start.blocks, options.max_depth or start.blocks) if start else 1


def new_model(
    options: RunOptions,
    dataset: Dataset,
    dtype: str,
    *,
    depth: int = 1,
    teacher: keras.Model | None = None,
    start: Start | None = None,
    continued: FinishedRun | None = None,
) -> OptimallyDeepNetwork:
    """The model of a run before its training, compiled.

    Args:
        options: of the run.
        dataset: of the run.
        dtype: Keras dtype policy.
        depth: residual blocks at first.
        teacher: that it learns from.
        start: what its stem and blocks are carried over from.
        continued: the run that it continues.
    """
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
        start_from=start and start.network,
    )
    if continued:
        model.network, model.spec = same_network(continued, model.spec, dtype)
    model.compile(
        sgd(options.learning_rate, options.weight_decay),
        loss="categorical_crossentropy",
        metrics=None,
        weighted_metrics=_metrics(options, dataset),  # on several devices the validation has images without weight
    )
    return model


def _metrics(options: RunOptions, dataset: Dataset) -> list[str | keras.metrics.Metric]:
    """Accuracy and the metric of the target."""
    if options.target_metric == ACCURACY:
        return [ACCURACY]
    return [ACCURACY, ClassScore(options.target_metric, dataset.num_classes)]


def check_target_metric(options: RunOptions, dataset: Dataset) -> None:
    """Raises `InputError` for a mean over classes of which some have no validation images."""
    counts = np.bincount(dataset.validation[1], minlength=dataset.num_classes)
    lacking = [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]
    if options.target_metric != ACCURACY and lacking:
        raise InputError(
            f"target_metric={options.target_metric} is a mean over the classes, and there are no validation images of "
            f"{', '.join(map(repr, lacking))}: add images, or take {ACCURACY}"
        )


def augmentation_of(options: RunOptions, dataset: Dataset) -> Augmentation:
    """The augmentation of a run: its preset, with the values that are given singly."""
    mirror = may_mirror(dataset.class_names, dataset.input_shape[-1])
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Augmentation)}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(preset(options.augment, dataset.input_shape, mirror=mirror), **given)


def training_batches(options: RunOptions, dataset: Dataset, share: Share | None = None) -> Batches:
    """The training batches of a run."""
    smoothing = label_smoothing(options.augment) if options.label_smoothing is None else options.label_smoothing
    return Batches(
        dataset.train,
        dataset.num_classes,
        options.batch_size,
        seed=options.seed,
        augmentation=augmentation_of(options, dataset),
        label_smoothing=smoothing,
        share=share,
        class_weights=class_weights(options.class_weight, dataset.train[1], dataset.class_names),
    )


def validation_batches(dataset: Dataset, share: Share | None = None) -> EvaluationBatches:
    """The validation batches of a run, of a size that its devices can share."""
    devices = share.devices if share else 1
    batch = -(-EVALUATION_BATCH // devices) * devices
    return EvaluationBatches(dataset.validation, dataset.num_classes, batch, share=share)


def recipe_of(options: RunOptions, dataset: Dataset, *, epochs: int, dtype: str) -> Recipe:
    """The recipe of a run, to train another network on its data in the same way.

    Args:
        options: of the run.
        dataset: of the run.
        epochs: length of the other training.
        dtype: Keras dtype policy of the other training.
    """
    return Recipe(
        batches=training_batches(options, dataset),
        epochs=epochs,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        seed=options.seed,
        dtype=dtype,
        options=dataclasses.asdict(options),
    )
