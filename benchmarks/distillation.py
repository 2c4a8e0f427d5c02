"""Do the exits of a network learn better from its end, and how much should they count?

    python -m benchmarks.distillation --dataset=fashion_mnist --train_images=2000 --validation_images=2000
    python -m benchmarks.distillation --dataset=fashion_mnist --train_images=2000 --validation_images=2000 \
        --alphas=0.5 --exit_weights=0.3,1 --alone=1

The same run, grown to --max_depth with an exit after every block, once with each of --alphas (0: the exits learn from
labels only) and each of --exit_weights, and with each seed; the first of all is what the others are compared with.
With --alone these depths are trained by themselves too, for as many epochs as the first of these runs took, in one
cycle of the learning rate. Accuracies are of validation images. Whatever is trained is kept in --out, and the same
command resumes where it was cut off.
"""

import itertools
import pathlib
import statistics
from typing import Any

from absl import flags

from benchmarks.jobs import Job, Jobs
from benchmarks.outcome import Outcome
from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.options import RunOptions

SET_HERE = {"alpha": "--alphas", "exit_weight": "--exit_weights", "exits": "nothing: all", "target_accuracy": "nothing"}
ALONE = "alone"


def define_flags() -> None:
    cli.define_option_flags(width=8, max_depth=3, epochs=40, cycle_epochs=10, batch_size=64, precision="float32")
    flags.DEFINE_list("alphas", ["0", "0.5"], "Weights of the end's probabilities in what the exits learn.")
    flags.DEFINE_list("exit_weights", ["0.3"], "Weights of an exit's loss, where that of the end counts 1.")
    flags.DEFINE_list("alone", [], "Depths that are trained by themselves too.")
    flags.DEFINE_integer("seeds", 3, "Repetitions.", lower_bound=1)
    flags.DEFINE_integer("workers", 2, "Trainings at a time; they share the cores.", lower_bound=1)
    flags.DEFINE_string(
        "out", None, "Where trainings and figures go; default: runs/distillation/ and the dataset's name."
    )


def main() -> None:
    values = flags.FLAGS
    for name, instead in SET_HERE.items():
        if values[name].present:
            raise InputError(f"this benchmark sets --{name} itself: give {instead}")
    options = RunOptions(**cli.option_values())
    if options.max_depth is None or options.cycle_epochs is None:
        raise InputError("give --max_depth and --cycle_epochs")
    settings = [
        {"alpha": alpha, "exit_weight": weight}
        for alpha, weight in itertools.product(_numbers("alphas"), _numbers("exit_weights"))
    ]
    for setting in settings:
        RunOptions(**setting)
    alone = _numbers("alone", int)
    for depth in alone:
        NetworkSpec(options.backbone, (1, 1, 1), num_classes=2).check_depth(depth)
    out = pathlib.Path(values.out or pathlib.Path("runs", "distillation", pathlib.Path(options.dataset).stem))
    jobs = Jobs(out / "trainings", options, options.max_depth, values.workers)
    length, seeds = {"epochs": options.epochs, "cycle_epochs": options.cycle_epochs}, range(values.seeds)
    found = jobs.run(Job("with_exits", seed, {**length, **setting}) for setting in settings for seed in seeds)
    runs = {name_of(setting): [found.pop(0) for _ in seeds] for setting in settings}
    accuracies = {name: by_depth(outcomes) for name, outcomes in runs.items()}
    if alone:
        took = [outcome.epochs for outcome in next(iter(runs.values()))]
        found = jobs.run(
            Job("direct", seed, {"depth": depth, "epochs": took[seed]}) for depth in alone for seed in seeds
        )
        accuracies[ALONE] = {depth: [found.pop(0).val_accuracy for _ in seeds] for depth in alone}
    result = summary(accuracies)
    print(f"\n{options.dataset}, {options.backbone} of width {options.width}, {values.seeds} seeds\n{table(result)}")
    write_json({"options": cli.option_values(), "rows": result}, out / "distillation.json")
    print(f"\n  {out / 'distillation.json'}")


def _numbers(name: str, kind: type = float) -> list:
    try:
        return [kind(text) for text in flags.FLAGS[name].value]
    except ValueError:
        raise InputError(f"--{name} must be numbers, separated by commas, got {flags.FLAGS[name].value}") from None


def name_of(setting: dict[str, float]) -> str:
    return f"alpha {setting['alpha']:g}, exits count {setting['exit_weight']:g}"


def by_depth(outcomes: list[Outcome]) -> dict[int, list[float | None]]:
    """Validation accuracies at each depth, each seed's; `None` where a seed's network ended before that depth."""
    deepest = max(len(outcome.log) for outcome in outcomes)
    return {
        depth: [outcome.log[depth - 1] if depth <= len(outcome.log) else None for outcome in outcomes]
        for depth in range(1, deepest + 1)
    }


def summary(accuracies: dict[str, dict[int, list[float | None]]]) -> list[dict[str, Any]]:
    """For each depth and way: each seed's accuracy, the median, and what it gains on the first way, seed by seed."""
    reference = next(iter(accuracies.values()))
    rows: list[dict[str, Any]] = []
    for depth in sorted({depth for found in accuracies.values() for depth in found}):
        for way, found in accuracies.items():
            if depth not in found:
                continue
            present = [accuracy for accuracy in found[depth] if accuracy is not None]
            row = {"depth": depth, "way": way, "val_accuracies": found[depth], "median": statistics.median(present)}
            pairs = zip(found[depth], reference.get(depth, []), strict=False)
            gains = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
            if found is not reference and gains:
                row |= {"gains": gains, "median_gain": statistics.median(gains)}
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for a person."""
    reference = rows[0]["way"]
    lines = [f"{'depth':>5}  {'':<28}{'median':>8}{'gain':>9}  each seed (gains: on {reference})"]
    for row in rows:
        gain = f"{row['median_gain']:+.4f}" if "gains" in row else ""
        each = ", ".join("-" if accuracy is None else f"{accuracy:.4f}" for accuracy in row["val_accuracies"])
        gains = f" ({', '.join(f'{gain:+.4f}' for gain in row['gains'])})" if "gains" in row else ""
        lines.append(f"{row['depth']:>5}  {row['way']:<28}{row['median']:>8.4f}{gain:>9}  {each}{gains}")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, define_flags)
