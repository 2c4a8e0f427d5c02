"""Trains a network of fixed depth, from fresh weights or from those it has as a part of a larger network."""

import hashlib
import json
import pathlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from odn_keras.data.batches import EVALUATION_BATCH, Batches, EvaluationBatches
from odn_keras.data.datasets import Dataset
from odn_keras.devices.accuracy import validation_accuracy
from odn_keras.devices.device_search import Specialized
from odn_keras.growing.checkpoint import Checkpoint
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
from odn_keras.growing.optimizers import sgd
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec

FINETUNING_RATE = 0.3  # of the run's learning rate: the whole of it undoes what has been learned


@dataclass(frozen=True)
class Recipe:
    """Data and settings to train a network of fixed depth with.

    Attributes:
        batches: training images, as often as `fit` asks for them.
        epochs: length of the one cycle of the learning rate.
        learning_rate: peak of the cycle.
        weight_decay: decoupled.
        seed: of all random numbers but those of `batches`.
        dtype: Keras dtype policy.
        options: all options of the run, as JSON; a checkpoint of other options is of another training.
    """

    batches: Batches
    epochs: int
    learning_rate: float
    weight_decay: float
    seed: int
    dtype: str
    options: dict[str, Any]

    def at_rate(self, learning_rate: float) -> "Recipe":
        """The recipe with another peak of the learning rate."""
        options = {**self.options, "learning_rate": learning_rate}
        return replace(self, learning_rate=learning_rate, options=options)


def train_alone(
    spec: NetworkSpec,
    depth: int,
    dataset: Dataset,
    *,
    recipe: Recipe,
    start: keras.Model | None = None,
    checkpoints: pathlib.Path | None = None,
    verbose: int = 2,
) -> tuple[keras.Model, dict[str, Any]]:
    """Trains a network of fixed depth by a run's recipe, in one cycle of the learning rate.

    Args:
        spec: the architecture, with one output.
        depth: number of residual blocks.
        dataset: its validation images choose the epoch.
        recipe: of the run.
        start: a network of the same architecture with the weights to begin with; default: fresh ones.
        checkpoints: a folder of checkpoints, from which an interrupted training of the same kind resumes.
        verbose: as in `keras.Model.fit`.

    Returns:
        The network of the best epoch, and its cost as JSON: `val_accuracy`, `training_macs`, `epochs`.

    Raises:
        TrainingDiverged: as `OptimallyDeepNetwork.fit`.
    """
    keras.utils.set_random_seed(recipe.seed)
    model = OptimallyDeepNetwork(
        spec=replace(spec, exits=(), inner=spec.inner[:depth]), depth=depth, dtype=recipe.dtype
    )
    if start is not None:
        model.network.set_weights(start.get_weights())
    model.compile(sgd(recipe.learning_rate, recipe.weight_decay), loss="categorical_crossentropy")
    callbacks = [growth := DepthGrowth(1.0, max_depth=depth, cycle_epochs=recipe.epochs, verbose=0)]
    if checkpoints:
        callbacks.append(Checkpoint(checkpoints / _identity(spec, dataset, recipe, start=start)))
    model.fit(
        recipe.batches,
        epochs=recipe.epochs,
        validation_data=EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH),
        callbacks=callbacks,
        verbose=verbose,
    )
    macs = round(sum(stage.training_macs_per_image * stage.epochs for stage in growth.stages) * len(dataset.train[0]))
    return model.network, {"val_accuracy": growth.best, "training_macs": macs, "epochs": recipe.epochs}


def finetuned(
    found: Specialized,
    dataset: Dataset,
    recipe: Recipe,
    *,
    checkpoints: pathlib.Path | None = None,
    verbose: int = 2,
) -> Specialized:
    """Fine-tunes a network that was cut out, on labels alone: a teacher's forward pass costs more than it brings.

    Args:
        found: the network; left unchanged.
        dataset: of the run.
        recipe: of the run; the learning rate is FINETUNING_RATE times that of the recipe.
        checkpoints: as in `train_alone`.
        verbose: as in `train_alone`.

    Returns:
        The trained network, or, where that is not more accurate on validation images, the one found; `finetuning`
        says which.

    Raises:
        TrainingDiverged: as `OptimallyDeepNetwork.fit`.
    """
    network, cost = train_alone(
        found.spec,
        found.choice.depth,
        dataset,
        recipe=recipe.at_rate(FINETUNING_RATE * recipe.learning_rate),
        start=found.network,
        checkpoints=checkpoints,
        verbose=verbose,
    )
    network = builder.with_dtype(network, "float32")
    accuracy = validation_accuracy(network, dataset)
    better = accuracy > found.val_accuracy
    finetuning = {**cost, "val_accuracy": accuracy, "val_accuracy_before": found.val_accuracy, "kept": better}
    if not better:
        return replace(found, finetuning=finetuning)
    return replace(found, network=network, val_accuracy=accuracy, finetuning=finetuning)


def _identity(spec: NetworkSpec, dataset: Dataset, recipe: Recipe, start: keras.Model | None) -> str:
    """A name for this training: equal for equal ones.

    BatchNorm's statistics, which a GPU may measure differently each time, are left out.
    """
    training = {"spec": asdict(spec), "options": recipe.options, "epochs": recipe.epochs, "dtype": recipe.dtype}
    training["data"] = asdict(dataset.fingerprint) if dataset.fingerprint else None
    digest = hashlib.sha256(json.dumps(training, sort_keys=True).encode())
    for variable in start.trainable_variables if start else ():
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()[:16]
