"""`report.html` of a `.tflite` file: what it answers to the images of a dataset."""

import pathlib
from typing import Any

from odn_keras.devices.withholding import describe
from odn_keras.runs.report.evaluation import Evaluation, percent, sections
from odn_keras.runs.report.page import Block, Card, Cards, Commands, Figure, Figures, Page, Section, Text


def write_file_page(measured: dict[str, Any], evaluation: Evaluation, commands: list[str], path: pathlib.Path) -> None:
    """Writes the page.

    Args:
        measured: what `evaluation.json` holds.
        evaluation: of the file.
        commands: that come next.
        path: of the page.
    """
    file = pathlib.Path(measured["file"]).name
    scores = measured["scores"]
    cards = [
        Card(
            f"{percent(measured['accuracy'])} right", f"of {measured['images']:,} test images of {measured['dataset']}"
        ),
        Card(f"{percent(scores['balanced_accuracy'])} balanced", "the mean over the classes of what is recognised"),
        Card(f"{measured['bytes']:,} bytes", file),
        Card(
            f"{measured['median_ms']:.3f} ms an image",
            f"median, {measured['p95_ms']:.3f} at the 95th percentile, in {measured['runtime']} on this machine",
        ),
    ]
    lead: list[Block] = [
        Cards(cards),
        *([Text(f"Assumed: {measured['assumption']}")] if measured["assumption"] else []),
    ]
    Page(
        f"{file} on {pathlib.Path(measured['dataset']).name}: {percent(measured['accuracy'])} right",
        lead,
        [*sections(evaluation), *_withheld(measured, evaluation), Section("What comes next", [Commands(commands)])],
    ).write(path)


def _withheld(measured: dict[str, Any], evaluation: Evaluation) -> list[Section]:
    """What is withheld; nothing where every answer is given."""
    from odn_keras.runs.report.charts import withholding_chart

    reject = measured["reject"]
    if reject is None:
        return []
    promised = reject["promised_accuracy"]
    title = "How often answers are right, by how many are given"
    chart = withholding_chart(
        evaluation.outputs[evaluation.name], evaluation.labels, reject["least_confidence"], promised, title
    )
    caption = f"{title}: the surest first. The mark is the threshold, the line the accuracy that is promised."
    lines = [f"{line[0].upper()}{line[1:]}." for line in describe(reject)]
    figure = Figures([Figure(chart, caption, f"Line chart: {title}")], wide=True)
    return [Section("None of these", [*map(Text, lines), figure])]
