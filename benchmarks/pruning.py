"""Pruning while training against pruning by magnitude and fine-tuning, and what it adds to the time of training.

    python -m benchmarks.pruning --dataset=fashion_mnist --depth=3 --sparsity=0.6 --shift=2 --flip
    python -m benchmarks.pruning --dataset=mnist --depth=2 --sparsity=0.7 --shift=1

A network of known depth is trained by one cycle of the learning rate; from there each way gets another one, equally
many epochs on the same batches:

    not pruned                      what more training brings
    ChannelPruning                  ours, the channels inside blocks
    ChannelPruning, streams too     and those of residual streams
    its schedule, magnitudes        ours, with the L2 norm of the weights for a score
    magnitudes at once, fine-tuned  channels of the smallest norm for their size cut out first, then trained

Printed are medians over the seeds, with the accuracies of each. Whatever is trained is kept in --out, and the same
command resumes where it was cut off.
"""

import math
import pathlib
import statistics

from absl import flags

from benchmarks.jobs import Job, Jobs
from odn_keras import cli
from odn_keras.files import write_json
from odn_keras.runs.options import RunOptions

cli.define_option_flags(dataset="fashion_mnist", width=16, train_images=10_000, cycle_epochs=8, epochs=12)
flags.DEFINE_integer("depth", 3, "Residual blocks.", lower_bound=1)
flags.DEFINE_float("sparsity", 0.6, "Fraction of the parameters to remove.")
flags.DEFINE_integer("seeds", 3, "Repetitions.", lower_bound=1)
flags.DEFINE_integer("workers", 2, "Trainings at a time; they share the cores.", lower_bound=1)
flags.DEFINE_string("out", None, "Where trainings and figures go; default: runs/pruning/ and the dataset's name.")


def main() -> None:
    values = flags.FLAGS
    options = RunOptions(**cli.option_values())
    folder = pathlib.Path(values.out or f"runs/pruning/{options.dataset}")
    jobs = Jobs(folder, options, values.depth, values.workers)
    cycle = options.cycle_epochs or math.ceil(options.epochs / 3)
    arguments = {"depth": values.depth, "epochs": cycle, "sparsity": values.sparsity}
    outcomes = jobs.run(Job("pruned", seed, arguments) for seed in range(values.seeds))
    rows = []
    for index, first in enumerate(outcomes[0].log):
        each = [outcome.log[index] for outcome in outcomes]
        slower = [row["seconds"] / outcome.log[0]["seconds"] for row, outcome in zip(each, outcomes, strict=True)]
        medians = {name: statistics.median(row[name] for row in each) for name in first if name != "way"}
        accuracies = [row["val_accuracy"] for row in each]
        rows.append({"way": first["way"], **medians, "val_accuracies": accuracies, "slower": statistics.median(slower)})
    before = statistics.median(outcome.val_accuracy for outcome in outcomes)
    print(
        f"\n{options.dataset}, {options.train_images:,} images, {options.backbone} of width {options.width}, depth "
        f"{values.depth}, {values.seeds} seeds: {cycle} epochs ({before:.4f}), then {cycle} each way"
    )
    print(f"{'':<32}{'parameters':>12}{'flash':>9}{'arena':>9}{'validation':>12}{'test':>9}{'time':>7}  each seed")
    for row in rows:
        print(
            f"{row['way']:<32}{row['params']:>12,.0f}{row['flash_bytes']:>9,.0f}{row['arena_bytes']:>9,.0f}"
            f"{row['val_accuracy']:>12.4f}{row['test_accuracy']:>9.4f}{row['slower']:>7.2f}  "
            + ", ".join(f"{value:.4f}" for value in row["val_accuracies"])
        )
    print(
        "flash and arena are predicted, in bytes; time is that of the second cycle by that of the one without pruning"
    )
    write_json({"options": cli.option_values(), "before": before, "rows": rows}, folder / "pruning.json")


if __name__ == "__main__":
    cli.run(main)
