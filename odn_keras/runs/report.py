"""What a run leaves behind: `report.json`, `history.csv`, `growth.png` and the table on the terminal."""

import csv
import math
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.files import replacing
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.stage import CYCLE, PRUNE, SETTLE, SHRINK, Stage
from odn_keras.networks.budget import Budget
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown

REPORTED_PACKAGES = ("odn_keras", "keras", "tensorflow", "jax", "torch", "numpy", "ai-edge-litert")
NAMED_IN_PICTURE = {PRUNE: "pruning", SHRINK: "shrinking widths"}
TITLE_LENGTH, NAME_LENGTH = 90, 14  # characters
PAIRS, PAIRS_IN_A_ROW = 24, 4  # of images in augmentation.png
LEAST_SHARE = 0.05  # of a class in a mixed image, to be named
SMALLEST_ERROR = 1e-4  # shown: one image in ten thousand
TICKS = tuple(step * 10.0**-power for power in range(5) for step in (0.7, 0.5, 0.3, 0.2, 0.1))  # errors


def stage_rows(growth: DepthGrowth, train_images: int) -> list[dict]:
    """The stages as `report.json` lists them; MACs are those of all training steps of the stage."""
    return [
        {
            "depth": stage.depth,
            "phase": stage.phase,
            "epochs": round(stage.epochs, 3),
            "seconds": round(stage.seconds, 1),
            "setup_seconds": round(stage.setup_seconds, 1),
            "best_val_accuracy": stage.best if stage.values else None,
            "forecast_val_accuracy": growth.forecast(stage) if stage.phase == CYCLE else None,
            "training_macs": round(stage.training_macs_per_image * train_images * stage.epochs),
            "fresh_layers": stage.fresh_layers,
        }
        for stage in growth.stages
    ]


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that matter to a run."""
    found = {"python": platform.python_version()}
    for package in REPORTED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_history(history: dict[str, list[float]], stages: list[Stage], path: str | os.PathLike) -> None:
    """One line an epoch: epoch (from 1), depth, phase and the metrics, empty where there is none."""
    places = [(stage.depth, stage.phase) for stage in stages for _ in stage.values]
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "depth", "phase", *history])
        for epoch, (place, metrics) in enumerate(zip(places, zip(*history.values(), strict=True), strict=False), 1):
            writer.writerow([epoch, *place, *("" if math.isnan(value) else value for value in metrics)])


def plot_growth(growth: DepthGrowth, title: str, path: str | os.PathLike) -> None:
    """Plots validation accuracy over epochs, coloured by depth, with expansions, forecasts and target marked.

    The accuracy axis is logarithmic in the error, so that the first epochs and the last tenths of a point both show.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    values = [
        value for stage in growth.stages for value in (*stage.values, growth.forecast(stage)) if value is not None
    ]
    _use_error_scale(axes, [*values, *([] if growth.target is None else [growth.target])])
    depths = sorted({stage.depth for stage in growth.stages})
    marks: dict[str, dict[str, Any]] = {}  # what a line or an area stands for -> how it looks, in the legend
    previous: tuple[float, float] | None = None
    for number, stage in enumerate(growth.stages):
        color = f"C{depths.index(stage.depth)}"
        begin = stage.first_step / stage.epoch_steps
        points = [(step / stage.epoch_steps, accuracy) for step, accuracy in stage.checks]
        points = [*([previous] if previous else []), *points]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, linewidth=1)
            axes.plot(stage.value_epochs, stage.values, color=color, linestyle="", marker="o", markersize=3)
        if number > 0 and growth.stages[number - 1].depth < stage.depth:
            look: dict[str, Any] = {"color": "grey", "linestyle": ":", "linewidth": 1}
            axes.axvline(begin, **{**look, "color": color})
            marks["deeper"] = look
        span = begin, begin + stage.epochs
        if stage.phase == SETTLE:
            axes.axvspan(*span, color=color, alpha=0.12)
            marks["prefix frozen"] = {"color": "grey", "alpha": 0.2, "linewidth": 8}
        if stage.phase in NAMED_IN_PICTURE:
            axes.axvspan(*span, facecolor="none", edgecolor="grey", hatch="//", alpha=0.3)
            name = NAMED_IN_PICTURE[stage.phase]
            axes.text(span[0] + 0.2, 0.97, name, transform=axes.get_xaxis_transform(), va="top")
        expected = None if stage.complete or stage.phase != CYCLE else growth.forecast(stage)
        if expected is not None:
            look = {"linestyle": "--", "linewidth": 1, "marker": "x"}
            ends = [step / stage.epoch_steps for step in (stage.checks[-1][0], stage.end_step)]
            axes.plot(ends, [stage.checks[-1][1], expected], color=color, markevery=[1], **look)
            marks["forecast for which it was left"] = {"color": "grey", **look}
        previous = points[-1] if points else previous
    for index, depth in enumerate(depths):
        axes.plot([], [], color=f"C{index}", marker="o", markersize=3, label=f"depth {depth}")
    for label, look in marks.items():
        axes.plot([], [], label=label, **look)
    if growth.target is not None:
        axes.axhline(growth.target, color="black", linestyle="--", linewidth=1, label=f"target {growth.target:.2%}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel="validation accuracy")
    axes.set_title(shown(title, TITLE_LENGTH), parse_math=False)
    axes.legend(loc="best", fontsize="small")
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, dpi=120)


def plot_augmentation(batches: Batches, class_names: Sequence[str], path: str | os.PathLike) -> None:
    """Plots training images in pairs: as they are, and as the first batch has them, with their labels then."""
    from matplotlib.figure import Figure

    originals, changed, targets = batches.examples(PAIRS)
    columns = 2 * PAIRS_IN_A_ROW
    rows = -(-len(originals) // PAIRS_IN_A_ROW)
    figure = Figure(figsize=(1.25 * columns, 1.55 * rows + 0.5), layout="constrained")
    figure.suptitle("Training images: as they are (left), as the first batch has them (right)", fontsize="medium")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place in grid.flat:
        place.set_axis_off()
    for number, images in enumerate(zip(originals, changed, strict=True)):
        row, column = divmod(number, PAIRS_IN_A_ROW)
        for side, image in enumerate(images):
            place = grid[row, 2 * column + side]
            colours = image.shape[-1] == 3
            place.imshow(image if colours else image[..., 0], cmap="gray", vmin=0, vmax=255)
        likely = np.argsort(-targets[number], kind="stable")[:2]
        names = [shown(class_names[label], NAME_LENGTH) for label in likely]
        mixed = targets[number][likely[1]] >= LEAST_SHARE  # not only smoothed
        lines = [f"{name} {targets[number][label]:.0%}" for name, label in zip(names, likely, strict=True)]
        place.set_title("\n".join(lines) if mixed else names[0], fontsize="x-small", parse_math=False)
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, dpi=100)


def _use_error_scale(axes, values: list[float]) -> None:
    """Makes the vertical axis, of accuracies, logarithmic in the error; it spans the values."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    heights = [-math.log10(min(1.0, max(1 - value, SMALLEST_ERROR))) for value in values] or [0.0]
    margin = 0.05 * (max(heights) - min(heights)) + 0.01
    high, low = 10 ** -(max(heights) + margin), min(1.0, 10 ** -(min(heights) - margin))
    axes.set_yscale(
        "function",
        functions=(
            lambda accuracy: -np.log10(np.maximum(1 - np.asarray(accuracy), SMALLEST_ERROR / 10)),
            lambda height: 1 - 10.0 ** -np.asarray(height),
        ),
    )
    nice = [error for error in TICKS if high <= error <= low]
    if len(nice) < 3:  # a short range: evenly spaced ones
        nice = [1 - float(accuracy) for accuracy in MaxNLocator(5).tick_values(1 - low, 1 - high)]
    digits = max(0, math.ceil(-math.log10(min(np.diff(sorted(nice)), default=1))) - 2) if len(nice) > 1 else 0
    axes.yaxis.set_major_locator(FixedLocator([1 - error for error in nice]))
    axes.set_ylim(1 - low, 1 - high)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda accuracy, _: f"{accuracy:.{digits}%}"))


def table(report: dict) -> str:
    """The closing table: the found network against the full one."""
    rows = [
        ("", "found", "full network", "saved"),
        ("depth (blocks)", report["depth"], report["max_depth"], ""),
        ("parameters", f"{report['params']:,}", f"{report['full_params']:,}", f"{report['param_reduction']:.2%}"),
        (
            "bytes (int8 file, float32)",
            f"{report['tflite_bytes']:,}",
            f"{report['float_full_bytes']:,}",
            f"{report['memory_reduction']:.2%}",
        ),
        (
            "TFLite Micro's arena (bytes)",
            f"{report['predicted_arena_bytes']:,}",
            f"{report['full_arena_bytes']:,}",
            f"{1 - report['predicted_arena_bytes'] / report['full_arena_bytes']:.2%}",
        ),
        (
            "MACs per image",
            f"{report['macs']:,}",
            f"{report['full_macs']:,}",
            f"{1 - report['macs'] / report['full_macs']:.2%}",
        ),
    ]
    lines = [f"{name:<28}{found:>15}{full:>17}{saved:>10}" for name, found, full, saved in rows]
    lines.append("-" * len(lines[0]))
    target = ""
    if report["target_accuracy"] is not None:  # none where the depth was given
        target = f" (target {report['target_accuracy']:.4f}: {'met' if report['target_met'] else 'NOT met'})"
    lines.append(f"validation accuracy {report['val_accuracy']:.4f}{target}")
    lines.append(f"test accuracy       {report['test_accuracy']:.4f} float, {report['int8_test_accuracy']:.4f} int8")
    if pruning := report.get("pruning"):  # not in reports of earlier versions
        depth_saves = 1 - pruning["params_before"] / report["full_params"]
        lines.append(
            f"parameters          depth saves {depth_saves:.2%} of the full network's, pruning "
            f"{pruning['param_reduction']:.2%} of those left (validation {pruning['val_accuracy_before']:.4f} before)"
        )
    if report.get("supernet"):  # not in reports of earlier versions
        exits = ", ".join(f"{value:.4f} at {depth}" for depth, value in report["supernet"]["val_accuracy"].items())
        lines.append(f"exits (validation)  {exits}")
    lines.append(f"training            {report['epochs']} epochs, {report['training_macs']:.3g} MACs")
    if report.get("budget_changes"):  # not in reports of earlier versions
        lines.append(f"made smaller        {report['budget_changes']}, to keep the budget")
    if report.get("budget"):
        lines.append(Budget.told(report["budget"]))
    return "\n".join(lines)
