"""A picture of the growth of a network: validation accuracy over epochs, coloured by depth."""

import math
import os
from typing import Any

import numpy as np

from odn_keras.files import replacing
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, SETTLE, SHRINK, Stage
from odn_keras.utils import colours
from odn_keras.utils.metric_names import in_words
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown

NAMED = {PRUNE: "pruning", SHRINK: "shrinking widths"}
TITLE_LENGTH = 90  # characters
SMALLEST_ERROR = 1e-4  # shown: one image in ten thousand
TICKS = tuple(step * 10.0**-power for power in range(5) for step in (0.7, 0.5, 0.3, 0.2, 0.1))  # errors

Style = dict[str, Any]  # keyword arguments of Matplotlib
Point = tuple[float, float]  # epoch and accuracy


def plot_growth(growth: DepthGrowth, title: str, path: str | os.PathLike) -> None:
    """Plots validation accuracy over epochs, coloured by depth, with expansions, forecasts and target marked.

    The accuracy axis is logarithmic in the error, so that the first epochs and the last tenths of a point both show.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    _use_error_scale(axes, _values(growth))
    depths = sorted({stage.depth for stage in growth.stages})
    legend: dict[str, Style] = {}  # what a line or an area stands for -> its style
    previous: Point | None = None
    for number, stage in enumerate(growth.stages):
        color = colours.of_series(depths.index(stage.depth))
        previous = _plot_accuracies(axes, stage, color, previous=previous)
        if number > 0 and growth.stages[number - 1].depth < stage.depth:
            style: Style = {"color": "grey", "linestyle": ":", "linewidth": 1}
            legend["deeper"] = style
            axes.axvline(stage.first_step / stage.epoch_steps, **{**style, "color": color})
        legend |= _mark_phase(axes, stage, color)
        legend |= _mark_forecast(axes, stage, color, forecast=growth.forecast(stage))
    for index, depth in enumerate(depths):
        axes.plot([], [], color=colours.of_series(index), marker="o", markersize=3, label=f"depth {depth}")
    for label, style in legend.items():
        axes.plot([], [], label=label, **style)
    if growth.target is not None:
        axes.axhline(growth.target, color="black", linestyle="--", linewidth=1, label=f"target {growth.target:.2%}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=f"validation {in_words(growth.monitor.removeprefix('val_'))}")
    axes.set_title(shown(title, TITLE_LENGTH), parse_math=False)
    axes.legend(loc="best", fontsize="small")
    with replacing(path) as temporary, missing_glyphs_allowed():
        figure.savefig(temporary, dpi=120)


def _values(growth: DepthGrowth) -> list[float]:
    """All accuracies that the picture shows: those of epochs, forecasts and the target."""
    values = [value for stage in growth.stages for value in (*stage.values, growth.forecast(stage))]
    return [value for value in (*values, growth.target) if value is not None]


def _plot_accuracies(axes, stage: Stage, color: str, previous: Point | None) -> Point | None:
    """Plots the accuracies of a stage behind the last point of the one before; returns its own last point."""
    points = [(step / stage.epoch_steps, accuracy) for step, accuracy in stage.checks]
    points = [*([previous] if previous else []), *points]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, linewidth=1)
        axes.plot(stage.value_epochs, stage.values, color=color, linestyle="", marker="o", markersize=3)
    return points[-1] if points else previous


def _mark_phase(axes, stage: Stage, color: str) -> dict[str, Style]:
    """Marks the epochs of a frozen prefix, of pruning and of shrinking; returns what is new in the legend."""
    begin = stage.first_step / stage.epoch_steps
    span = begin, begin + stage.epochs
    if stage.phase in NAMED:
        axes.axvspan(*span, facecolor="none", edgecolor="grey", hatch="//", alpha=0.3)
        axes.text(span[0] + 0.2, 0.97, NAMED[stage.phase], transform=axes.get_xaxis_transform(), va="top")
    if stage.phase not in (HEAD, SETTLE):
        return {}
    axes.axvspan(*span, color=color, alpha=0.12)
    return {"prefix frozen": {"color": "grey", "alpha": 0.2, "linewidth": 8}}


def _mark_forecast(axes, stage: Stage, color: str, forecast: float | None) -> dict[str, Style]:
    """Plots the forecast for which a cycle was left early; returns what is new in the legend."""
    if stage.complete or stage.phase != CYCLE or forecast is None:
        return {}
    style: Style = {"linestyle": "--", "linewidth": 1, "marker": "x"}
    ends = [step / stage.epoch_steps for step in (stage.checks[-1][0], stage.end_step)]
    axes.plot(ends, [stage.checks[-1][1], forecast], color=color, markevery=[1], **style)
    return {"forecast for which it was left": {"color": "grey", **style}}


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
