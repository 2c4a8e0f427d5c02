"""Parts of the report of a run: stages and versions for `report.json`, `history.csv`, the closing table."""

import csv
import math
import os
import platform
from importlib import metadata
from typing import Any

from odn_keras.files import replacing
from odn_keras.growing.depth_growth import DepthGrowth
from odn_keras.growing.stage import CYCLE, Stage
from odn_keras.networks.budget import Budget
from odn_keras.utils.metric_names import ACCURACY, in_words

INT8, FLOAT = "int8 file", "float network"  # whose answers are in a report
REPORTED_PACKAGES = ("odn_keras", "keras", "tensorflow", "jax", "torch", "numpy", "ai-edge-litert")


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
            "carried_share": stage.carried_share,
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


def table(report: dict[str, Any]) -> str:
    """The closing table: the network found beside the full one, and their accuracies.

    Args:
        report: what `report.json` holds; fields that earlier versions did not write may be missing.
    """
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
        _row("TFLite Micro's arena (bytes)", report["predicted_arena_bytes"], report["full_arena_bytes"]),
        _row("MACs per image", report["macs"], report["full_macs"]),
    ]
    lines = [f"{name:<28}{found:>15}{full:>17}{saved:>10}" for name, found, full, saved in rows]
    lines.append("-" * len(lines[0]))
    return "\n".join([*lines, *_accuracy_lines(report), *_cost_lines(report)])


def val_score(report: dict[str, Any]) -> float:
    """The validation score that is compared with the target; reports of earlier versions have an accuracy only."""
    return report.get("val_score", report["val_accuracy"])


def _row(name: str, found: int, full: int) -> tuple[str, str, str, str]:
    return name, f"{found:,}", f"{full:,}", f"{1 - found / full:.2%}"


def _accuracy_lines(report: dict[str, Any]) -> list[str]:
    target = ""
    if report["target_accuracy"] is not None:  # none where the depth was given
        target = f" (target {report['target_accuracy']:.4f}: {'met' if report['target_met'] else 'NOT met'})"
    score, metric = val_score(report), report.get("target_metric", ACCURACY)
    lines = [f"{f'validation {in_words(metric)}':<19} {score:.4f}{target}"]
    if metric != ACCURACY:
        int8, exact = (report["test_scores"][name][metric] for name in (INT8, FLOAT))
        lines.append(f"{f'test {in_words(metric)}':<19} {exact:.4f} float, {int8:.4f} int8")
    lines += [
        f"test accuracy       {report['test_accuracy']:.4f} float, {report['int8_test_accuracy']:.4f} int8",
    ]
    if pruning := report.get("pruning"):
        depth_saves = 1 - pruning["params_before"] / report["full_params"]
        lines.append(
            f"parameters          depth saves {depth_saves:.2%} of the full network's, pruning "
            f"{pruning['param_reduction']:.2%} of those left (validation {pruning['val_accuracy_before']:.4f} before)"
        )
    if report.get("supernet"):
        exits = ", ".join(f"{value:.4f} at {depth}" for depth, value in report["supernet"]["val_accuracy"].items())
        lines.append(f"exits (validation)  {exits}")
    return lines


def _cost_lines(report: dict[str, Any]) -> list[str]:
    lines = [f"training            {report['epochs']} epochs, {report['training_macs']:.3g} MACs"]
    if report.get("budget_changes"):
        lines.append(f"made smaller        {report['budget_changes']}, to keep the budget")
    if report.get("budget"):
        lines.append(Budget.summary(report["budget"]))
    return lines
