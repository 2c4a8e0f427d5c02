"""Charts of answers, as SVG whose text the browser draws, so that class names of every script can be read."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure as Plot
from matplotlib.ticker import MaxNLocator, PercentFormatter

from odn_keras.runs.report.pictures import uri
from odn_keras.utils import colours
from odn_keras.utils.exact_limits import limits
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown
from odn_keras.utils.scores import ClassScores

NUMBERED, NAMED = 16, 40  # classes up to which a confusion matrix has numbers, and names
MOST_BARS = 40
AS_TEXT: Any = {"svg.fonttype": "none", "font.family": "sans-serif", "axes.unicode_minus": False}


def confusion_chart(scores: ClassScores, class_names: Sequence[str], title: str) -> str:
    """How many images of each class are answered as each class; the colour is their share of the class."""
    classes = len(class_names)
    side = 5.6 if classes <= NUMBERED else 6.4
    plot = Plot(figsize=(side, side * 1.1), layout="constrained")
    axes = plot.add_subplot()
    shares = scores.confusion / np.maximum(1, scores.images)[:, None]
    mesh = axes.pcolormesh(
        np.arange(classes + 1) - 0.5, np.arange(classes + 1) - 0.5, shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1),
        rasterized=classes > NAMED,
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set(xlabel="answered", ylabel="true class")
    axes.set_title(title, parse_math=False)
    _name_classes(axes, class_names)
    if classes <= NUMBERED:
        for (row, column), count in np.ndenumerate(scores.confusion):
            if count:
                colour = "white" if shares[row, column] > 0.35 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    ticks: Any = {"ticks": [0, 0.1, 0.25, 0.5, 1], "format": PercentFormatter(1.0)}
    bar = plot.colorbar(mesh, ax=axes, location="bottom", shrink=0.6, aspect=30, **ticks)
    bar.set_label("share of the class's images (of a row)")
    return _svg(plot)


def _name_classes(axes: Axes, class_names: Sequence[str]) -> None:
    classes = len(class_names)
    if classes > NAMED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(10, integer=True))
        axes.set(xlabel="answered (number of the class)", ylabel="true class (number)")
        return
    names = [shown(name, 14) for name in class_names]
    size = 9 if classes <= NUMBERED else 6
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size, parse_math=False)
    axes.set_yticks(range(classes), names, fontsize=size, parse_math=False)


def recall_chart(by_whom: Mapping[str, ClassScores], class_names: Sequence[str], title: str) -> str:
    """The share of each class's images that is recognised, by each classifier, the worst classes first.

    Args:
        by_whom: who answered -> scores; the first decides the order, and has the exact 95 % limits of its shares.
        class_names: of all classes; at most 40 are shown.
        title: of the chart.
    """
    first = next(iter(by_whom.values()))
    order = [place for place in np.argsort(first.recall, kind="stable") if first.images[place]][:MOST_BARS]
    plot = Plot(figsize=(7.2, 1.4 + 0.26 * len(order)), layout="constrained")
    axes = plot.add_subplot()
    heights = np.arange(len(order))
    right = np.diag(first.confusion)[order]
    low, high = limits(right, first.images[order])
    axes.hlines(heights, low, high, color=colours.of_series(0), alpha=0.35, linewidth=5, label="exact 95 % limits")
    for number, (name, scores) in enumerate(by_whom.items()):
        marker: Any = {"marker": "o", "markersize": 6} if number == 0 else {"marker": "|", "markersize": 12}
        axes.plot(scores.recall[order], heights, linestyle="", color=colours.of_series(number), label=name, **marker)
    axes.set_yticks(heights, [shown(class_names[place], 24) for place in order], fontsize=9, parse_math=False)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(max(0.0, float(low.min()) - 0.03) if len(order) else 0, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.4)
    axes.set(xlabel="recognised, % of the class's test images (recall)")
    axes.set_title(title, parse_math=False)
    plot.legend(loc="outside lower center", ncols=3, fontsize=9)
    return _svg(plot)


def withholding_chart(
    outputs: np.ndarray, labels: np.ndarray, least_confidence: float, promised: float, title: str
) -> str:
    """The accuracy of the answers given, over the share of the images that get one, the surest first.

    Args:
        outputs: probabilities, shape (n, classes).
        labels: shape (n,).
        least_confidence: of the answers that are given.
        promised: the accuracy that is promised.
        title: of the chart.
    """
    confidences = outputs.max(axis=-1)
    order = np.argsort(-confidences, kind="stable")
    right = np.cumsum((outputs.argmax(axis=-1) == labels)[order])
    given = np.arange(1, len(labels) + 1)
    last = np.flatnonzero(np.diff(confidences[order], append=-1))  # images of one confidence go together
    plot = Plot(figsize=(7.2, 3.8), layout="constrained")
    axes = plot.add_subplot()
    axes.plot(given[last] / len(labels), right[last] / given[last], color=colours.of_series(0), linewidth=1.5)
    axes.axhline(promised, color="black", linestyle="--", linewidth=1, label=f"promised {promised:.2%}")
    if count := int(np.sum(confidences >= least_confidence)):
        place = count / len(labels), right[count - 1] / count
        axes.plot(*place, "D", color=colours.of_series(1), label=f"confidence of at least {least_confidence:.4f}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.4)
    axes.set(xlabel="test images that get an answer, %", ylabel="right, % of these answers", title=title)
    axes.legend(loc="lower left", fontsize=9)
    return _svg(plot)


def _svg(plot: Plot) -> str:
    written = io.BytesIO()
    with rc_context(AS_TEXT), missing_glyphs_allowed():
        plot.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None})
    return uri(written.getvalue(), "image/svg+xml")
