"""The network for a device: found within the network of a finished run, fine-tuned, and exported."""

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras

from odn_keras.data.datasets import Dataset
from odn_keras.deploy import bundle
from odn_keras.deploy.export_choices import ExportChoices
from odn_keras.devices.device_search import Specialization, Specialized
from odn_keras.devices.finetuning import finetuned
from odn_keras.devices.latency_table import LatencyTable
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.networks import extraction
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.budget import Budget
from odn_keras.networks.builder import with_dtype
from odn_keras.runs.options import RunOptions
from odn_keras.runs.run_files import FINETUNING
from odn_keras.runs.training_setup import recipe_of


def open_search(
    network: keras.Model,
    supernet: dict[str, Any],
    dataset: Dataset,
    *,
    narrow: bool,
    latencies: LatencyTable | None,
    runs_on: Budget,
    progress: Callable[[str], None],
) -> Specialization:
    """The search through the networks in that of a run.

    Args:
        network: the one that holds the others; its channels may be sorted.
        supernet: `supernet` of the run's report.
        dataset: of the run.
        narrow: True where blocks may be narrowed although the run has not trained smaller widths, as before a
            fine-tuning.
        latencies: of the network's parts, for limits of latency.
        runs_on: a budget that says which kernels run the networks, and on what device.
        progress: called with a line for each step.
    """
    spec, widths = NetworkSpec(**supernet["spec"]), supernet["widths"]
    if narrow and not widths:
        extraction.sort_channels(network, spec)
        widths = True
    return Specialization(
        network, spec, dataset, widths=widths, latencies=latencies, runs_on=runs_on, progress=progress
    )


def finetune(
    found: Specialized,
    dataset: Dataset,
    options: RunOptions,
    *,
    epochs: int,
    dtype: str,
    out: pathlib.Path,
    verbose: int,
) -> Specialized:
    """Fine-tunes a network that was cut out, from a checkpoint in the folder if there is one.

    Args:
        found: the network.
        dataset: of the run.
        options: of the run.
        epochs: of fine-tuning.
        dtype: Keras dtype policy.
        out: the folder that the network will be exported to; it holds the checkpoints until then.
        verbose: as in `keras.Model.fit`.

    Raises:
        InputError: where the training diverges.
    """
    recipe = recipe_of(options, dataset, epochs=epochs, dtype=dtype)
    try:
        return finetuned(found, dataset, recipe, checkpoints=out / FINETUNING, verbose=verbose)
    except TrainingDiverged as error:
        raise InputError(f"trained on alone, the network diverges: leave --finetune_epochs out ({error})") from error


def export(
    found: Specialized, dataset: Dataset, out: pathlib.Path, choices: ExportChoices, *, search_seconds: float
) -> dict[str, Any]:
    """Writes `model.keras`, `specialize.json` and what `bundle.export` writes, and removes checkpoints of fine-tuning.

    Returns:
        What `export.json` holds.
    """
    result = bundle.export(found.network, dataset, out, choices=choices, name=pathlib.Path(dataset.name).stem)
    with replacing(out / "model.keras") as temporary:
        with_dtype(found.network, "float32").save(temporary)
    described = {**found.describe(), "search_seconds": round(search_seconds, 1), "finetuning": found.finetuning}
    write_json(described, out / "specialize.json")
    if found.finetuning:
        shutil.rmtree(out / FINETUNING)
    return result
