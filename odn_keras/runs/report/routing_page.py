"""`report.html` of a routed network: where images leave, what that saves, and what is promised."""

import pathlib
from typing import Any

from odn_keras.deploy.chain.chain_table import promise
from odn_keras.runs.report.evaluation import percent
from odn_keras.runs.report.page import BAD, GOOD, Card, Cards, Commands, Figure, Figures, Page, Section, Table, Text
from odn_keras.runs.report.pictures import picture_file
from odn_keras.runs.run_files import PAGE


def write_routing_page(result: dict[str, Any], command: str, out: pathlib.Path) -> None:
    """Writes the page.

    Args:
        result: what `routing.json` holds.
        command: that comes next.
        out: the folder, with `routing.png`.
    """
    test, stages = result["test"], result["stages"]
    saved = 1 - test["mean_macs"] / stages[-1]["macs"]
    change = 100 * (test["accuracy"] - test["end_accuracy"])
    cards = [
        Card(
            f"{percent(saved)} fewer MACs", "of an image on average, against the network's end", GOOD if saved else BAD
        ),
        Card(
            f"{percent(test['accuracy'])} right",
            f"{change:+.2f} points against the end, of {test['images']:,} test images",
        ),
        Card(
            f"{test['mean_ms']:.3f} ms an image",
            f"on average, the end alone {test['end_mean_ms']:.3f}; in LiteRT, one thread of this machine",
        ),
    ]
    rows = [
        [
            stage["file"],
            f"{stage['bytes']:,}",
            "-" if stage["arena_bytes"] is None else f"{stage['arena_bytes']:,}",
            f"{stage['macs']:,}",
            _threshold(stage),
            percent(stage["test_accuracy"]),
            percent(stage["test_share"]),
        ]
        for stage in stages
    ]
    headings = ["stage", "bytes", "arena, bytes", "MACs so far", "threshold", "accuracy of all", "leave here"]
    caption = "Test images by the exit at which they leave; wrong answers are in red, with what was answered."
    figure = Figure(picture_file(out / "routing.png"), caption, "Rows of images, one for each exit")
    Page(
        f"{pathlib.Path(result['dataset']).name}, routed: {percent(saved)} fewer MACs",
        [Cards(cards), Text(f"{promise(result)}.")],
        [
            Section("Where images leave", [Figures([figure], wide=True)]),
            Section("The stages", [Table(headings, rows)]),
            Section("What comes next", [Commands([command])]),
        ],
    ).write(out / PAGE)


def _threshold(stage: dict[str, Any]) -> str:
    threshold = stage.get("threshold")
    return "the end" if threshold is None else "not used" if threshold > 1 else f"{threshold:.4f}"
