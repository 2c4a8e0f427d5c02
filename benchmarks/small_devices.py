"""Which block is best for a small device: networks of equal training cost, trained each alone, compared at their bytes.

    python -m benchmarks.small_devices --dataset=cifar10 --max_flash=98496 --max_arena=64KB --shift=4 --flip
        --macs=2.2e13 --networks=resnet8:16:1:3,resnet20:16:1:6,ds_cnn:16:1:6,ds_cnn:64:2:3

A network is given as backbone:width:stem stride:depth. Each is trained for as many epochs as come nearest to --macs
training MACs, in one cycle, by the same recipe. Of each family, plain or depthwise, the one that is best on validation
images (median of the seeds) is measured on test images, as an int8 file.

Every training is a run's folder in --out, and the same command resumes where it was cut off.
"""

import dataclasses
import pathlib
import statistics
from dataclasses import dataclass
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.data.datasets import Dataset
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.runs.options import RunOptions

FORWARD_AND_BACK = 3  # MACs of a training step by those of a forward pass


@dataclass(frozen=True)
class Candidate:
    """A network that is trained.

    Attributes:
        options: of its run, but for the seed.
        family: `plain`, or `depthwise` where it has depthwise convolutions.
        sizes: predicted `flash_bytes`, `arena_bytes` and `macs`.
    """

    options: RunOptions
    family: str
    sizes: dict[str, int]

    @property
    def name(self) -> str:
        """As it was given on the command line."""
        return f"{self.options.backbone}:{self.options.width}:{self.options.stem_stride}:{self.options.depth}"


def candidate(text: str, options: RunOptions, training_macs: float, dataset: Dataset) -> Candidate:
    """The network of `backbone:width:stem stride:depth`, with epochs for so many training MACs.

    Raises:
        InputError: where it is no such text.
    """
    from odn_keras.networks import footprint
    from odn_keras.networks.architectures import NetworkSpec

    try:
        backbone, *numbers = text.split(":")
        width, stem_stride, depth = map(int, numbers)
    except ValueError:
        raise InputError(f"give networks as backbone:width:stem stride:depth, got {text!r}") from None
    spec = NetworkSpec(backbone, dataset.input_shape, dataset.num_classes, width, stem_stride)
    graph = footprint.of_spec(spec, depth)
    epochs = max(1, round(training_macs / (FORWARD_AND_BACK * graph.macs * len(dataset.train[0]))))
    alone = dataclasses.replace(
        options,
        backbone=backbone,
        width=width,
        stem_stride=stem_stride,
        depth=depth,
        target_accuracy=None,
        epochs=epochs,
        cycle_epochs=epochs,
        max_flash=None,
        max_arena=None,
    )
    sizes = {name: getattr(graph, name) for name in ("flash_bytes", "arena_bytes", "macs")}
    return Candidate(alone, "depthwise" if alone.depthwise else "plain", sizes)


def trained(one: Candidate, seeds: int, folder: pathlib.Path) -> dict[str, Any]:
    """Trains the network with each seed; returns its row of the table."""
    from odn_keras import run

    reports = []
    for seed in range(seeds):
        place = folder / one.name.replace(":", "-") / str(seed)
        report = run(dataclasses.replace(one.options, seed=seed), place, resume=True)
        assert report is not None  # one process
        reports.append(report)
    return {
        "network": one.name,
        "family": one.family,
        **one.sizes,
        "epochs": one.options.epochs,
        "training_macs": statistics.median(report["training_macs"] for report in reports),
        "val_accuracies": [report["val_accuracy"] for report in reports],
        "val_accuracy": statistics.median(report["val_accuracy"] for report in reports),
        "tflite_bytes": max(report["tflite_bytes"] for report in reports),
        "int8_test_accuracies": [report["int8_test_accuracy"] for report in reports],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text; the best of each family with its accuracy on test images."""
    lines = [
        f"{'network':<20}{'file':>9}{'arena':>9}{'MACs':>12}{'epochs':>8}{'training MACs':>15}{'validation':>12}"
        "  int8 on test images"
    ]
    best = {row["network"] for row in best_of_families(rows)}
    for row in rows:
        tested = ", ".join(f"{accuracy:.2%}" for accuracy in row["int8_test_accuracies"])
        lines.append(
            f"{row['network']:<20}{row['tflite_bytes']:>9,}{row['arena_bytes']:>9,}{row['macs']:>12,}{row['epochs']:>8}"
            f"{row['training_macs']:>15.2e}{row['val_accuracy']:>12.2%}  {tested if row['network'] in best else ''}"
        )
    return "\n".join(lines)


def best_of_families(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each family the network that is best on validation images."""
    families = dict.fromkeys(row["family"] for row in rows)
    return [
        max((row for row in rows if row["family"] == family), key=lambda row: row["val_accuracy"])
        for family in families
    ]


def main() -> None:
    values = flags.FLAGS
    options = RunOptions(**cli.option_values())
    cli.import_keras()
    from odn_keras.networks.budget import Budget
    from odn_keras.networks.footprint import parse_bytes
    from odn_keras.runs.run_data import load_by_options

    dataset = load_by_options(options)
    some = [candidate(text, options, values.macs, dataset) for text in values.networks]
    limits = {"flash_bytes": options.max_flash, "arena_bytes": options.max_arena}
    for one in some:
        for name, limit in limits.items():
            if limit is not None and one.sizes[name] > parse_bytes(limit):
                raise InputError(f"{one.name} has {one.sizes[name]:,} {name.replace('_', ' ')}, more than {limit}")
    folder = pathlib.Path(values.out or f"runs/small_devices/{options.dataset}")
    rows = [trained(one, values.seeds, folder) for one in some]
    budget = Budget.parse(options.max_flash, options.max_arena) or "no limit"
    print(
        f"\n{options.dataset}, {len(dataset.train[0]):,} training images, {budget}, {values.seeds} seeds\n{table(rows)}"
    )
    write_json({"options": cli.option_values(), "macs": values.macs, "rows": rows}, folder / "small_devices.json")


def define_flags() -> None:
    cli.define_option_flags(dataset="cifar10")
    flags.DEFINE_list("networks", None, "The networks, each backbone:width:stem stride:depth.", required=True)
    flags.DEFINE_float("macs", None, "Training MACs of each.", required=True)
    flags.DEFINE_integer("seeds", 1, "Trainings of each.", lower_bound=1)
    flags.DEFINE_string("out", None, "Where the trainings go; default: runs/small_devices/ and the dataset's name.")


if __name__ == "__main__":
    cli.run(main, define_flags)
