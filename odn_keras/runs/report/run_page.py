"""`report.html` of a run: the verdict, how the network grew, what it saves, what it gets wrong, and what comes next."""

import dataclasses
import pathlib
from typing import Any

from odn_keras.networks.budget import Budget
from odn_keras.runs import verdict
from odn_keras.runs.options import RunOptions
from odn_keras.runs.report.evaluation import Evaluation, percent, sections
from odn_keras.runs.report.page import (
    BAD,
    GOOD,
    Block,
    Card,
    Cards,
    Commands,
    Figure,
    Figures,
    Folded,
    Page,
    Section,
    Table,
    Text,
)
from odn_keras.runs.report.pictures import picture_file
from odn_keras.runs.report.summary import INT8
from odn_keras.runs.run_files import PAGE
from odn_keras.utils.metric_names import ACCURACY, in_words


def write_run_page(report: dict[str, Any], evaluation: Evaluation, out: pathlib.Path) -> None:
    """Writes `report.html` into a run's folder.

    Args:
        report: what `report.json` holds.
        evaluation: of the int8 file and the float network on the test images.
        out: the run's folder, with `growth.png` and `augmentation.png`.
    """
    found = f"depth {report['depth']} of {report['max_depth']}"
    page = Page(
        f"{pathlib.Path(report['dataset']).name}: {found}, {percent(report['int8_test_accuracy'])} right",
        _lead(report),
        [
            Section("How the network grew", [_growth(report, out)]),
            Section("The network found, and the full one", [_sizes(report)]),
            *sections(evaluation),
            Section("What augmentation did", [_augmentation(report, out)]),
            Section("What comes next", [Commands([*verdict.next_commands(report, str(out))])]),
            Section("How it was made", _making(report)),
        ],
    )
    page.write(out / PAGE)


def _lead(report: dict[str, Any]) -> list[Block]:
    cards = [_target(report), _fit(report), _int8(report)]
    saved = f"{report['tflite_bytes']:,} bytes as int8, the full network {report['float_full_bytes']:,} as float32"
    cards.append(Card(f"{percent(report['memory_reduction'])} fewer bytes", saved))
    ending = [*verdict.describe_ending(report), *verdict.warn_of_continued(report), *verdict.warn_of_int8(report)]
    return [Cards(cards), *map(Text, ending)]


def _target(report: dict[str, Any]) -> Card:
    reached = f"{in_words(report['target_metric'])} {percent(report['val_score'])} on validation images"
    if report["target_accuracy"] is None:
        return Card("No target", f"the depth was given; {reached}")
    wanted = f"{reached}, wanted were {percent(report['target_accuracy'])}"
    return Card("Target met", wanted, GOOD) if report["target_met"] else Card("Target missed", wanted, BAD)


def _fit(report: dict[str, Any]) -> Card:
    needs = f"{report['tflite_bytes']:,} bytes of flash, an arena of {report['predicted_arena_bytes']:,} (predicted)"
    if not report["budget"]:
        return Card("No device limits given", f"it takes {needs}; --max_flash and --max_arena set limits")
    summary = Budget.summary(report["budget"])
    if report["budget"]["exceeded"]:
        return Card("Does not fit the device", summary, BAD)
    return Card("Fits the device", summary, GOOD)


def _int8(report: dict[str, Any]) -> Card:
    int8, exact = report["int8_test_accuracy"], report["test_accuracy"]
    text = f"int8 file {percent(int8)}, float network {percent(exact)} of {report['images']['test']:,} test images"
    if (metric := report["target_metric"]) != ACCURACY:
        of_file = report["test_scores"][INT8][metric]
        text += f"; {in_words(metric)} of the file {percent(of_file)}"
    if exact - int8 > verdict.LOUD_LOSS:
        return Card(f"int8 costs {100 * (exact - int8):.1f} points", text, BAD)
    return Card("int8 keeps the accuracy", text, GOOD)


def _growth(report: dict[str, Any], out: pathlib.Path) -> Block:
    caption = (
        "Validation accuracy over the epochs, a colour for each depth; dotted lines: one block deeper. The scale is "
        "logarithmic in the error."
    )
    met = {True: "it is met", False: "it is missed", None: "there is no target"}[report["target_met"]]
    alt = f"Line chart of validation accuracy over {report['epochs']} epochs up to depth {report['depth']}; {met}"
    return Figures([Figure(picture_file(out / "growth.png"), caption, alt)], wide=True)


def _sizes(report: dict[str, Any]) -> Table:
    rows = [
        ("depth, blocks", report["depth"], report["max_depth"]),
        ("parameters", report["params"], report["full_params"]),
        ("bytes: int8 file, float32", report["tflite_bytes"], report["float_full_bytes"]),
        ("TFLite Micro's arena, bytes (predicted)", report["predicted_arena_bytes"], report["full_arena_bytes"]),
        ("multiply-accumulates of an image", report["macs"], report["full_macs"]),
    ]
    cells = [[name, f"{found:,}", f"{full:,}", percent(1 - found / full)] for name, found, full in rows]
    return Table(["", "found", "full network", "saved"], cells)


def _augmentation(report: dict[str, Any], out: pathlib.Path) -> Block:
    caption = "Training images as they are (left) and as the network saw them (right)."
    picture = Figure(picture_file(out / "augmentation.png"), caption, "Pairs of training images before and after")
    return Figures([picture], wide=True)


def _making(report: dict[str, Any]) -> list[Block]:
    images = report["images"]
    shape = "x".join(map(str, images["shape"]))
    counts = f"{images['train']:,} training, {images['validation']:,} validation and {images['test']:,} test images"
    text = (
        f"{counts} of {shape}; {report['backbone']} of width {report['width']}, {report['epochs']} epochs on "
        f"{report['backend']} in {report['precision']}."
    )
    options = report["options"]
    # A width that is not given is that of the backbone.
    defaults = dataclasses.asdict(RunOptions(backbone=options["backbone"])) | {"backbone": RunOptions.backbone}
    changed = [[f"--{name}", value] for name, value in options.items() if value != defaults.get(name)]
    every = [[f"--{name}", "" if value is None else value] for name, value in options.items()]
    versions = [[name, version] for name, version in report["versions"].items()]
    return [
        Text(text),
        Table(["option", "value"], changed, caption="Options that differ from their defaults", words=True),
        Folded("All options", [Table(["option", "value"], every, words=True)]),
        Folded("Versions", [Table(["package", "version"], versions, words=True)]),
    ]
