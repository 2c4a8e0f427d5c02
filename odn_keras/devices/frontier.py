"""The networks of a frontier, accuracy over size, as a table and as a picture."""

import os
import pathlib
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from odn_keras.files import replacing, write_json
from odn_keras.utils import colours

LOGARITHMIC = 4  # from this ratio of the largest to the smallest size on; below, powers of two are too few ticks


def frontier_table(points: list[dict[str, Any]]) -> str:
    """A table of the networks, a line for each.

    Args:
        points: as `Specialized.describe` has them, the smallest first.
    """
    ms = f"{'ms':>10}" if "latency_ms" in points[0] else ""
    lines = [f"{'depth':>5}{'flash, bytes':>15}{'arena, bytes':>15}{'MACs':>15}{ms}{'validation':>12}  inner channels"]
    for point in points:
        inner = " ".join("+".join(map(str, channels)) for channels in point["inner"])
        ms = f"{point['latency_ms']:>10.4g}" if "latency_ms" in point else ""
        lines.append(
            f"{point['depth']:>5}{point['flash_bytes']:>15,}{point['arena_bytes']:>15,}{point['macs']:>15,}{ms}"
            f"{point['val_accuracy']:>12.4f}  {inner}"
        )
    return "\n".join(lines)


def write_frontier(points: list[dict[str, Any]], out: pathlib.Path) -> list[pathlib.Path]:
    """Writes the networks as `frontier.json` and `frontier.png`; returns the paths.

    Args:
        points: as `Specialized.describe` has them, the smallest first.
        out: the folder, made if need be.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / "frontier.json", out / "frontier.png"]
    write_json(points, files[0])
    plot_frontier(points, files[1])
    return files


def plot_frontier(points: list[dict[str, Any]], path: str | os.PathLike) -> None:
    """Plots validation accuracy over the size of the int8 file.

    Args:
        points: as `Specialized.describe` has them, the smallest first.
        path: of the picture.
    """
    with replacing(path) as temporary:
        frontier_figure(points).savefig(temporary, dpi=120)


def frontier_figure(points: list[dict[str, Any]]) -> Figure:
    """The figure that `plot_frontier` writes."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    sizes = [point["flash_bytes"] / 1024 for point in points]
    axes.step(sizes, [point["val_accuracy"] for point in points], where="post", color="grey", linewidth=1)
    for number, depth in enumerate(sorted({point["depth"] for point in points})):
        of_depth = [index for index, point in enumerate(points) if point["depth"] == depth]
        accuracies = [points[index]["val_accuracy"] for index in of_depth]
        axes.plot(
            [sizes[index] for index in of_depth],
            accuracies,
            "o",
            color=colours.of_series(number),
            label=f"depth {depth}",
        )
    if max(sizes) >= LOGARITHMIC * min(sizes):
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set(xlabel="int8 file, KB (predicted)", ylabel="validation accuracy", title="What accuracy costs")
    axes.legend(loc="lower right", fontsize="small")
    return figure
