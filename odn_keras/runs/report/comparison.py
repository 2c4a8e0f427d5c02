"""Finished runs side by side: a table, a chart, their pictures, and the options in which they differ."""

import io
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from odn_keras.runs.report.page import Figure, Figures, Page, Section, Table, Text
from odn_keras.runs.report.pictures import picture_file, uri
from odn_keras.runs.report.summary import val_score
from odn_keras.utils import colours
from odn_keras.utils.metric_names import ACCURACY, in_words
from odn_keras.utils.plain_text import missing_glyphs_allowed, shown

NEEDED = (
    "depth", "max_depth", "params", "tflite_bytes", "predicted_arena_bytes", "macs", "val_accuracy", "test_accuracy",
    "int8_test_accuracy", "epochs", "training_macs", "target_accuracy", "target_met",
)  # fmt: skip
OTHER_DATA = "The runs were not trained and tested on the same images: their accuracies do not compare."

Reports = Mapping[str, dict[str, Any]]  # name of a run -> its report


def names_of(runs: Sequence[str]) -> list[str]:
    """Short names of the folders of runs: their last parts, or the paths where those are not different.

    >>> names_of(["runs/a", "runs/b/"]), names_of(["x/a", "y/a"])
    (['a', 'b'], ['x/a', 'y/a'])
    """
    last = [os.path.basename(os.path.normpath(run)) for run in runs]
    return last if len(set(last)) == len(last) else list(runs)


def rows(reports: Reports) -> list[list[str]]:
    """The figures of each run, a row for each figure; the first row has the names."""
    figures: dict[str, Any] = {
        "dataset": lambda run: pathlib.Path(run["dataset"]).name,
        "target": lambda run: "none" if run["target_accuracy"] is None else f"{run['target_accuracy']:.4f}",
        "target's metric": lambda run: in_words(run.get("target_metric", ACCURACY)),
        "target met": lambda run: {True: "yes", False: "NO", None: ""}[run["target_met"]],
        "depth": lambda run: f"{run['depth']} of {run['max_depth']}",
        "validation score": lambda run: f"{val_score(run):.4f}",
        "validation accuracy": lambda run: f"{run['val_accuracy']:.4f}",
        "test accuracy, int8": lambda run: f"{run['int8_test_accuracy']:.4f}",
        "test accuracy, float": lambda run: f"{run['test_accuracy']:.4f}",
        "int8 file, bytes": lambda run: f"{run['tflite_bytes']:,}",
        "arena, bytes (predicted)": lambda run: f"{run['predicted_arena_bytes']:,}",
        "parameters": lambda run: f"{run['params']:,}",
        "MACs of an image": lambda run: f"{run['macs']:,}",
        "epochs": lambda run: f"{run['epochs']}",
        "training MACs": lambda run: f"{run['training_macs']:.3g}",
    }
    return [["", *reports], *([name, *map(figure, reports.values())] for name, figure in figures.items())]


def differing_options(reports: Reports) -> list[list[str]]:
    """The options in which the runs differ, a row for each; an option that a run did not have yet is empty."""
    options = [report["options"] for report in reports.values()]
    every = dict.fromkeys(name for each in options for name in each)
    table = [[f"--{name}", *("" if each.get(name) is None else str(each[name]) for each in options)] for name in every]
    return [row for row in table if len(set(row[1:])) > 1]


def same_data(reports: Reports) -> bool:
    """Whether all runs have validation and test images in common."""
    first, *others = [(report.get("data") or {}).get("splits", {}) for report in reports.values()]
    return all(first.get(name) == other.get(name) for other in others for name in ("validation", "test"))


def text_table(table: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for name, *cells in table:
        right = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        lines.append("  ".join([name.ljust(widths[0]), *right]))
    return "\n".join(lines)


def write_comparison_page(reports: Reports, folders: Sequence[pathlib.Path], path: pathlib.Path) -> None:
    """Writes the page.

    Args:
        reports: name of each run -> what its `report.json` holds.
        folders: of the runs, in the same order.
        path: of the page.
    """
    headings, *figures = rows(reports)
    differing = differing_options(reports)
    table = Table(headings, differing, words=True) if differing else Text("They have the same options.")
    caption = "Test accuracy of the int8 file over its size, a mark for each run."
    chart = Figure(_accuracy_over_size(reports), caption, "Scatter chart of test accuracy over bytes")
    growth = [
        Figure(picture_file(folder / "growth.png"), f"{name}: validation accuracy over epochs", f"Growth of {name}")
        for name, folder in zip(reports, folders, strict=True)
        if (folder / "growth.png").is_file()
    ]
    Page(
        f"{len(reports)} runs side by side",
        [] if same_data(reports) else [Text(OTHER_DATA)],
        [
            Section("What they found", [Table(headings, figures)]),
            Section("Options that differ", [table]),
            Section("Accuracy over size", [Figures([chart], wide=True)]),
            *([Section("How they grew", [Figures(growth)])] if growth else []),
        ],
    ).write(path)


def _accuracy_over_size(reports: Reports) -> str:
    from matplotlib.figure import Figure as Plot
    from matplotlib.ticker import PercentFormatter

    plot = Plot(figsize=(7.2, 4), layout="constrained")
    axes = plot.add_subplot()
    for number, (name, report) in enumerate(reports.items()):
        place = report["tflite_bytes"] / 1024, report["int8_test_accuracy"]
        axes.plot(*place, "os^Dv*Pd"[number % 8], color=colours.of_series(number), markersize=8)
        axes.annotate(shown(name, 24), place, xytext=(7, 4), textcoords="offset points", fontsize=9, parse_math=False)
    axes.margins(0.15)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="int8 file, KB", ylabel="test accuracy of the int8 file", title="Accuracy over size of the runs")
    axes.grid(alpha=0.4)
    written = io.BytesIO()
    with missing_glyphs_allowed():
        plot.savefig(written, format="png", dpi=120)
    return uri(written.getvalue(), "image/png")
