"""`report.html` of a frontier: which accuracy needs how many bytes, of the networks within one."""

import pathlib
from typing import Any

from odn_keras.runs.report.evaluation import percent
from odn_keras.runs.report.page import Card, Cards, Commands, Figure, Figures, Page, Section, Table
from odn_keras.runs.report.pictures import picture_file
from odn_keras.runs.run_files import PAGE


def write_frontier_page(points: list[dict[str, Any]], run: str, command: str, picture: pathlib.Path) -> None:
    """Writes the page beside the picture.

    Args:
        points: the networks as `Specialized.describe` has them, the smallest first.
        run: that holds them.
        command: that comes next.
        picture: `frontier.png`.
    """
    smallest, largest = points[0], points[-1]
    cards = [
        Card(
            f"{percent(largest['val_accuracy'])} at best", f"{largest['flash_bytes']:,} bytes, depth {largest['depth']}"
        ),
        Card(
            f"{percent(smallest['val_accuracy'])} at the smallest",
            f"{smallest['flash_bytes']:,} bytes, depth {smallest['depth']}",
        ),
        Card(f"{len(points)} networks", "none of the others is both smaller and more accurate"),
    ]
    latency = ["ms"] if "latency_ms" in smallest else []
    rows = [
        [
            point["depth"],
            f"{point['flash_bytes']:,}",
            f"{point['arena_bytes']:,}",
            f"{point['macs']:,}",
            *(f"{point['latency_ms']:.4g}" for _ in latency),
            percent(point["val_accuracy"]),
            " ".join("+".join(map(str, channels)) for channels in point["inner"]),
        ]
        for point in points
    ]
    headings = ["depth", "flash, bytes", "arena, bytes", "MACs", *latency, "validation accuracy", "inner channels"]
    caption = "Validation accuracy over the predicted size of the int8 file, a colour for each depth."
    figure = Figure(picture_file(picture), caption, "Step chart of validation accuracy over bytes of the int8 file")
    Page(
        f"{run}: what accuracy costs",
        [Cards(cards)],
        [
            Section("Accuracy over size", [Figures([figure], wide=True)]),
            Section("The networks", [Table(headings, rows, caption="Sizes are predicted")]),
            Section("What comes next", [Commands([command])]),
        ],
    ).write(picture.with_name(PAGE))
