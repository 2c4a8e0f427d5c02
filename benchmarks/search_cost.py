"""What does finding the depth cost? Compares growing with knowing the depth beforehand, and with the other ways.

    python -m benchmarks.search_cost --dataset=fashion_mnist --width=16 --train_images=10000 --seeds=3 --shift=2 --flip
    python -m benchmarks.search_cost --dataset=emnist --width=16 --train_images=10000 --seeds=3 --shift=2

Direct training at every depth comes first. Three targets lie midway between the accuracies of neighbouring depths,
where these differ most (or --targets); for each of them and each seed a network is grown. Then:

    search overhead   training MACs of the grown network (all depths) by those of training the depth it found directly,
                      with the same recipe and as many epochs as bring the same validation accuracy
    sweep to target   direct training at depth 1, 2, ... until the target is reached
    whole sweep       direct training at every depth of the backbone
    full depth        direct training at full depth
    Hyperband         Keras Tuner's, over the depth
    paper             the protocol of arXiv 2510.10764

Accuracies are of validation images, medians over the seeds; ratios are theirs by ours. Whatever is trained is kept in
--out, and the same command resumes where it was cut off.
"""

import itertools
import math
import pathlib
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from absl import flags

from benchmarks.direct import Direct, choose_targets, median
from benchmarks.jobs import Job, Jobs
from benchmarks.outcome import PAPER_MARGIN, Outcome, reached
from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.runs.options import RunOptions

ABLATIONS: dict[str, dict[str, Any]] = {
    "slack=0": {"slack": 0.0},
    "slack=2": {"slack": 2.0},
    "freeze=prefix": {"freeze": "prefix"},
}

cli.define_option_flags(dataset="fashion_mnist", width=16, train_images=10_000, cycle_epochs=12, epochs=30)
flags.DEFINE_integer("seeds", 3, "Repetitions of growing and of direct training.", lower_bound=1)
flags.DEFINE_integer("other_seeds", 1, "Repetitions of the paper's protocol and of Hyperband.", lower_bound=0)
flags.DEFINE_integer("sweep_depth", 5, "Deepest network of the direct sweep.", lower_bound=2)
flags.DEFINE_list("targets", None, "Target accuracies instead of those chosen from the sweep.")
flags.DEFINE_boolean("ablate", False, "Also grow without each of the rules, and train directly without averaging.")
flags.DEFINE_integer("workers", 2, "Trainings at a time; they share the cores.", lower_bound=1)
flags.DEFINE_string("out", None, "Where trainings and figures go; default: runs/search_cost/ and the dataset's name.")


Way = tuple[float, float | None, int | None, float | None]  # MACs, seconds, depth, accuracy


@dataclass
class Row:
    """One target: what was grown, and what it would have cost otherwise; MACs and seconds of training."""

    target: float
    right_depth: int | None
    grown: list[Outcome]
    overheads: list[tuple[float, str]]
    others: dict[str, Way]

    @property
    def macs(self) -> float:
        """Training MACs of the growing runs, their median."""
        return median(self.grown, "training_macs")

    @property
    def seconds(self) -> float:
        """Seconds of the growing runs, their median."""
        return median(self.grown, "seconds")

    @property
    def overhead(self) -> float:
        """MACs of a growing run by those of direct training to the same accuracy, their median."""
        return statistics.median(ratio for ratio, _ in self.overheads)


def measure(options: RunOptions, jobs: Jobs) -> dict[str, Any]:
    values = flags.FLAGS
    seeds, others = range(values.seeds), range(values.other_seeds)
    direct = Direct(jobs, seeds, options.cycle_epochs or math.ceil(options.epochs / 3))
    print(f"direct training, depth 1 to {values.sweep_depth}", flush=True)
    sweep = direct.run(range(1, values.sweep_depth + 1))
    accuracies = {depth: median(outcomes, "val_accuracy") for depth, outcomes in sweep.items()}
    targets = [float(target) for target in values.targets] if values.targets else choose_targets(accuracies)
    middle = targets[len(targets) // 2]

    def growing(target: float, **more) -> list[Job]:
        arguments = {"target": target, "epochs": options.epochs, "cycle_epochs": direct.cycle, **more}
        return [Job("grow", seed, arguments) for seed in seeds]

    paper_jobs = [Job("paper", seed, {"target": max(targets)}) for seed in others]
    hyperband_jobs = [Job("hyperband", seed, {"max_epochs": direct.cycle}) for seed in others]
    full_jobs = [Job("direct", seed, {"depth": jobs.max_depth, "epochs": direct.cycle}) for seed in others]
    growing_jobs = {target: growing(target) for target in targets}
    ablated_jobs = {name: growing(middle, **more) for name, more in ABLATIONS.items()} if values.ablate else {}
    depths = range(1, values.sweep_depth + 1)
    plain_jobs = [Job("plain", 0, {"depth": depth, "epochs": direct.cycle}) for depth in depths if values.ablate]
    print(
        f"the others, the longest first, and growing to {', '.join(f'{target:.4f}' for target in targets)}", flush=True
    )
    groups = (*growing_jobs.values(), *ablated_jobs.values(), plain_jobs)
    jobs.run(itertools.chain(paper_jobs, hyperband_jobs, full_jobs, *groups))
    grown = {target: jobs.run(growing_jobs[target]) for target in targets}
    full, hyperband, paper = (jobs.run(each) for each in (full_jobs, hyperband_jobs, paper_jobs))
    (every_depth,) = jobs.run([Job("every_depth", 0, {"epochs": direct.cycle})])
    whole = every_depth.training_macs
    print("direct training to the accuracies of the grown networks", flush=True)
    overheads = {target: [_overhead(outcome, direct) for outcome in grown[target]] for target in targets}
    rows = []
    for target in targets:
        right = next((depth for depth in sorted(accuracies) if reached(accuracies[depth], target)), None)
        ways = _ways(target, right, sweep, whole=whole, full=full, hyperband=hyperband, paper=paper)
        rows.append(Row(target, right, grown[target], overheads[target], ways))
    print(_table(rows, accuracies, options, values))
    result: dict[str, Any] = {
        "options": cli.option_values(),
        "direct_val_accuracy": accuracies,
        "rows": [
            {
                "target": row.target,
                "right_depth": row.right_depth,
                "found_depths": [outcome.depth for outcome in row.grown],
                "val_accuracies": [outcome.val_accuracy for outcome in row.grown],
                "test_accuracies": [outcome.test_accuracy for outcome in row.grown],
                "training_macs": row.macs,
                "seconds": row.seconds,
                "search_overheads": row.overheads,
                "search_overhead": row.overhead,
                "others": row.others,
            }
            for row in rows
        ],
        "forecast": _forecast_errors([outcome for outcomes in sweep.values() for outcome in outcomes]),
    }
    print(_forecast_table(result["forecast"]))
    if values.ablate:
        ablated = {name: jobs.run(each) for name, each in ablated_jobs.items()}
        print(_ablation_table(middle, {"as it is": grown[middle], **ablated}))
        print(_averaging_table([sweep[depth][0] for depth in depths], jobs.run(plain_jobs)))
    _draw(rows, sweep, jobs.folder / "search_cost.png", f"{options.dataset}, {options.backbone}, width {options.width}")
    return result


def _overhead(outcome: Outcome, direct: Direct) -> tuple[float, str]:
    macs, bound = direct.macs_for(outcome.depth, outcome.val_accuracy)
    return outcome.training_macs / macs, {"<": ">", ">": "<"}.get(bound, "")


def _ways(target, right, sweep, *, whole, full, hyperband, paper) -> dict[str, Way]:
    ways: dict[str, Way] = {"whole sweep": (whole, None, None, None)}
    if right:
        tried = [_way(sweep[depth]) for depth in range(1, right + 1)]
        macs, seconds = (sum(way[index] for way in tried) for index in (0, 1))
        ways["sweep to target"] = (macs, seconds, *tried[-1][2:])
    stops = [_paper_stop(outcome, target) for outcome in paper]
    for name, outcomes in (("full depth", full), ("Hyperband", hyperband), ("paper", stops)):
        if outcomes:
            ways[name] = _way(outcomes)
    return ways


def _way(outcomes: list[Outcome]) -> tuple[float, float, int, float]:
    macs, seconds, accuracy = (median(outcomes, name) for name in ("training_macs", "seconds", "val_accuracy"))
    return macs, seconds, outcomes[0].depth, accuracy


def _paper_stop(outcome: Outcome, target: float) -> Outcome:
    """Where the paper's protocol would have stopped with that target: at its first depth within the margin."""
    within = (depth for depth in outcome.log if reached(depth["val_accuracy"], target - PAPER_MARGIN))
    return replace(outcome, **next(within, outcome.log[-1]))


def _table(rows: list[Row], accuracies: dict[int, float], options: RunOptions, values) -> str:
    lines = [
        "",
        f"{options.dataset}, {options.backbone} of width {options.width}, {values.seeds} seeds, "
        f"cycle of {options.cycle_epochs} epochs",
        "direct training: " + ", ".join(f"depth {depth} {value:.4f}" for depth, value in accuracies.items()),
        "",
        f"{'target':<8}{'right depth':>12}{'found':>10}{'accuracy':>10}{'MACs':>10}{'search overhead, each seed':>36}",
    ]
    for row in rows:
        found = ", ".join(str(outcome.depth) for outcome in row.grown)
        each = ", ".join(f"{bound}{ratio:.2f}" for ratio, bound in row.overheads)
        lines.append(
            f"{row.target:<8.4f}{row.right_depth or '?':>12}{found:>10}{median(row.grown, 'val_accuracy'):>10.4f}"
            f"{row.macs:>10.3g}{row.overhead:>14.2f} ({each})"
        )
    names = list(dict.fromkeys(name for row in rows for name in row.others))
    for title, index in (("training MACs", 0), ("seconds", 1)):
        lines += ["", f"{title}, theirs by ours", f"{'target':<8}" + "".join(f"{name:>18}" for name in names)]
        for row in rows:
            ours = (row.macs, row.seconds)[index]
            theirs = [row.others[name][index] if name in row.others else None for name in names]
            lines.append(
                f"{row.target:<8.4f}" + "".join(f"{f'{cost / ours:.1f}' if cost else '-':>18}" for cost in theirs)
            )
    lines += ["", "depth and accuracy they end with", f"{'target':<8}" + "".join(f"{name:>18}" for name in names)]
    for row in rows:
        cells = []
        for name in names:
            _, _, depth, accuracy = row.others.get(name, (0, 0, None, None))
            cells.append(f"{f'{depth}, {accuracy:.4f}' if depth else '-':>18}")
        lines.append(f"{row.target:<8.4f}" + "".join(cells))
    return "\n".join(lines)


def _forecast_errors(outcomes: list[Outcome]) -> dict[str, list[float]]:
    """By quarter of the cycle: the logarithms of (forecast error rate / error rate the cycle ended with)."""
    found = defaultdict(list)
    for outcome in outcomes:
        (stage,) = outcome.log
        end = 1 - stage["val_accuracy"][-1]
        for quarter in (1, 2, 3):
            epoch = round(quarter / 4 * len(stage["forecasts"]))
            forecast = stage["forecasts"][epoch - 1]
            if forecast is not None:
                found[f"{quarter}/4"].append(math.log((1 - forecast) / end))
    return dict(found)


def _forecast_table(errors: dict[str, list[float]]) -> str:
    lines = [
        "",
        "forecast error rate by the one the cycle ended with",
        f"{'progress':<10}{'median':>8}{'10 % .. 90 %':>18}",
    ]
    for progress, logs in errors.items():
        tenths = statistics.quantiles(logs, n=10)
        low, high = math.exp(tenths[0]), math.exp(tenths[-1])
        lines.append(f"{progress:<10}{math.exp(statistics.median(logs)):>8.3f}{f'{low:.3f} .. {high:.3f}':>18}")
    return "\n".join(lines)


def _ablation_table(target: float, variants: dict[str, list[Outcome]]) -> str:
    lines = ["", f"growing to {target:.4f}", f"{'':<14}{'found':>10}{'accuracy':>10}{'MACs':>10}{'epochs':>14}"]
    for name, outcomes in variants.items():
        depths = ", ".join(str(outcome.depth) for outcome in outcomes)
        epochs = ", ".join(str(outcome.epochs) for outcome in outcomes)
        lines.append(
            f"{name:<14}{depths:>10}{median(outcomes, 'val_accuracy'):>10.4f}{median(outcomes, 'training_macs'):>10.3g}"
            f"{epochs:>14}"
        )
    return "\n".join(lines)


def _averaging_table(averaged: list[Outcome], unaveraged: list[Outcome]) -> str:
    """How far validation accuracy falls back on its way, and where it ends."""
    lines = ["", f"{'':<10}{'largest fall between two epochs':>34}{'end of the cycle':>24}"]
    lines.append(f"{'depth':<10}" + f"{'averaged':>17}{'as they are':>17}{'averaged':>12}{'as they are':>12}")
    for ours, theirs in zip(averaged, unaveraged, strict=True):
        curves = ours.log[0]["val_accuracy"], theirs.log
        falls = [max(0, *(before - after for before, after in itertools.pairwise(c))) for c in curves]
        lines.append(f"{ours.depth:<10}{falls[0]:>17.4f}{falls[1]:>17.4f}{curves[0][-1]:>12.4f}{curves[1][-1]:>12.4f}")
    return "\n".join(lines)


def _draw(rows: list[Row], sweep: dict[int, list[Outcome]], path: pathlib.Path, title: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for depth, outcomes in sweep.items():
        macs, accuracy = median(outcomes, "training_macs"), median(outcomes, "val_accuracy")
        axes.plot(macs, accuracy, "k.")
        axes.annotate(
            f"depth {depth}", (macs, accuracy), textcoords="offset points", xytext=(0, 7), ha="center", fontsize=8
        )
    axes.plot([], [], "k.", label="direct training, depth known")
    for number, row in enumerate(rows):
        color = f"C{number}"
        points = [(outcome.training_macs, outcome.val_accuracy) for outcome in row.grown]
        axes.plot(*zip(*points, strict=True), "o", color=color, fillstyle="none", label=f"grown to {row.target:.2%}")
        axes.axhline(row.target, color=color, linestyle="--", linewidth=1)
    markers = {"Hyperband": "s", "paper": "^", "full depth": "D"}
    for name, marker in markers.items():
        ends = {row.others[name][::3] for row in rows if name in row.others}
        if ends:
            axes.plot(*zip(*ends, strict=True), marker, color="grey", label=name)
    axes.set_xscale("log")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="training MACs", ylabel="validation accuracy", title=title)
    axes.legend(loc="lower right", fontsize="small")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def main() -> None:
    values = flags.FLAGS
    options = RunOptions(**cli.option_values())
    full_depth = NetworkSpec(options.backbone, (1, 1, 1), num_classes=2).max_depth
    if values.sweep_depth >= full_depth:
        raise InputError(f"sweep_depth must be below the full depth {full_depth}, got {values.sweep_depth}")
    folder = pathlib.Path(values.out or pathlib.Path("runs", "search_cost", pathlib.Path(options.dataset).stem))
    result = measure(options, Jobs(folder / "trainings", options, options.max_depth or full_depth, values.workers))
    write_json(result, folder / "search_cost.json")
    print(f"\n  {folder / 'search_cost.json'}\n  {folder / 'trainings' / 'search_cost.png'}")


if __name__ == "__main__":
    cli.run(main)
