"""Trains a network of given depth, from scratch or on from what it has learned as a part of a larger one."""

import hashlib
import json
import pathlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from odn_keras.data.batches import Batches, EvaluationBatches
from odn_keras.data.datasets import Dataset
from odn_keras.devices.device_search import EVALUATION_BATCH, Specialized, validation_accuracy
from odn_keras.growing.checkpoint import Checkpoint
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork
from odn_keras.growing.optimizers import sgd
from odn_keras.networks import builder
from odn_keras.networks.architectures import NetworkSpec

FINETUNING_RATE = 0.3  # of the run's learning rate: the whole of it undoes what has been learned


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        batches: training images, as often as `fit` asks for them.
        learning_rate: peak of the cycle.
        weight_decay: decoupled.
        seed: of what `batches` does not draw.
        options: all of the run's, as JSON; a checkpoint of other options is of another training.
    """

    batches: Batches
    learning_rate: float
    weight_decay: float
    seed: int
    options: dict[str, Any]

    def at_rate(self, learning_rate: float) -> "Recipe":
        """The same with another peak of the learning rate."""
        options = {**self.options, "learning_rate": learning_rate}
        return replace(self, learning_rate=learning_rate, options=options)


def train_alone(
    spec: NetworkSpec,
    depth: int,
    dataset: Dataset,
    recipe: Recipe,
    epochs: int,
    *,
    dtype: str,
    start: keras.Model | None = None,
    checkpoints: pathlib.Path | None = None,
    verbose: int = 2,
) -> tuple[keras.Model, dict[str, Any]]:
    """Trains a network of fixed depth by a run's recipe, in one cycle of the learning rate.

    Args:
        spec, depth: the architecture, of one output.
        dataset: its validation images choose the epoch.
        recipe: of the run.
        epochs: length of the cycle.
        dtype: a Keras dtype policy.
        start: the same architecture, with the weights to begin with; default: fresh ones.
        checkpoints: a folder, from which the same training goes on if it was interrupted; another begins anew.
        verbose: as in `keras.Model.fit`.

    Returns:
        The network of the best epoch, and what it took, as JSON: `val_accuracy`, `training_macs`, `epochs`.
    """
    keras.utils.set_random_seed(recipe.seed)
    alone = replace(spec, exits=(), inner=spec.inner[:depth])
    model = OptimallyDeepNetwork(spec=alone, depth=depth, dtype=dtype)
    if start is not None:
        model.network.set_weights(start.get_weights())
    model.compile(sgd(recipe.learning_rate, recipe.weight_decay), loss="categorical_crossentropy")
    callbacks = [growth := DepthGrowth(1.0, max_depth=depth, cycle_epochs=epochs, verbose=0)]
    if checkpoints:
        callbacks.append(Checkpoint(checkpoints / _identity(spec, dataset, recipe, epochs, dtype, start)))
    model.fit(
        recipe.batches,
        epochs=epochs,
        validation_data=EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH),
        callbacks=callbacks,
        verbose=verbose,
    )
    macs = round(sum(stage.training_macs_per_image * stage.epochs for stage in growth.stages) * len(dataset.train[0]))
    return model.network, {"val_accuracy": growth.best, "training_macs": macs, "epochs": epochs}


def finetuned(
    found: Specialized,
    dataset: Dataset,
    recipe: Recipe,
    epochs: int,
    *,
    dtype: str,
    checkpoints: pathlib.Path | None = None,
    verbose: int = 2,
) -> Specialized:
    """A network that was cut out, trained on alone, by labels: a teacher's forward pass costs more than it brings.

    Args:
        found: the network; left unchanged.
        dataset, recipe: of the run; of its learning rate FINETUNING_RATE is taken.
        epochs: length of the cycle.
        dtype, checkpoints, verbose: as in `train_alone`.

    Returns:
        The trained network, or, where that is not more accurate on validation images, the one found; `finetuning`
        tells which.

    Raises:
        TrainingDiverged: as `OptimallyDeepNetwork.fit`.
    """
    network, cost = train_alone(
        found.spec,
        found.choice.depth,
        dataset,
        recipe.at_rate(FINETUNING_RATE * recipe.learning_rate),
        epochs,
        dtype=dtype,
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


def _identity(
    spec: NetworkSpec, dataset: Dataset, recipe: Recipe, epochs: int, dtype: str, start: keras.Model | None
) -> str:
    """A name for what is trained how: BatchNorm's statistics, which a GPU may measure otherwise, are left out."""
    training = {"spec": asdict(spec), "options": recipe.options, "epochs": epochs, "dtype": dtype}
    training["data"] = asdict(dataset.fingerprint) if dataset.fingerprint else None
    digest = hashlib.sha256(json.dumps(training, sort_keys=True).encode())
    for variable in start.trainable_variables if start else ():
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()[:16]
