"""A network with exits -> int8 files, the thresholds at which images leave, and what both were measured to do.

Thresholds are set on validation images, on the int8 files' own answers; the test images are looked at once, at the end.
"""

import importlib.util
import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.deploy.chain.exit_chain import WITHOUT_EXITS, export_chain, write_header
from odn_keras.deploy.chain.routed_classifier import ROUTING, Chain, RoutedClassifier, int8_threshold
from odn_keras.deploy.chain.routing_picture import plot_routing
from odn_keras.deploy.convert.tflite import CALIBRATION_IMAGES
from odn_keras.deploy.micro.c_array import write_stage_array
from odn_keras.deploy.micro.tflite_micro import measure_arena
from odn_keras.deploy.runtimes import LiteRTClassifier, measure
from odn_keras.deploy.tflite_file.metadata import LABELS
from odn_keras.deploy.tflite_file.resize_metadata import write_resize
from odn_keras.devices.exit_thresholds import calibrate
from odn_keras.errors import InputError
from odn_keras.files import TEMPORARY_PREFIX, write_json, write_lines
from odn_keras.networks import cost

HEADER, PICTURE = "routing.h", "routing.png"
OF_STAGES = ("stage[0-9]*.tflite", "stage[0-9]*.cc", "stage[0-9]*.h")
LATENCY_IMAGES = 1000


def export_routed(
    network: keras.Model, dataset: Dataset, out: pathlib.Path, max_accuracy_drop: float = 0.005
) -> dict[str, Any]:
    """Writes a network with exits as files that an image goes through only as far as it needs: all of them or none.

    Args:
        network: a functional classifier whose outputs are its exits and, last, its end.
        dataset: what it was trained on. Activation ranges are measured on its training images, thresholds set on its
            validation images.
        out: the folder, made if need be.
        max_accuracy_drop: accuracy that routing may lose against the end, as a fraction.

    Returns:
        What `routing.json` holds.

    Raises:
        InputError: where the network has no exits, or does not fit the dataset.
    """
    outputs = getattr(network, "outputs", [])
    if len(outputs) < 2:
        raise InputError(WITHOUT_EXITS)
    shapes = {tuple(output.shape[1:]) for output in outputs}
    if tuple(network.input_shape[1:]) != dataset.input_shape or shapes != {(dataset.num_classes,)}:
        raise InputError(
            f"the network takes images of {network.input_shape[1:]} and gives {sorted(shapes)}, "
            f"{dataset.name} has images of {dataset.input_shape} in {dataset.num_classes} classes"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=out.parent) as name:
        folder = pathlib.Path(name)
        result = _write(network, dataset, folder, max_accuracy_drop)
        out.mkdir(exist_ok=True)
        for earlier in (earlier for pattern in OF_STAGES for earlier in out.glob(pattern)):
            earlier.unlink()
        for file in folder.iterdir():
            os.replace(file, out / file.name)
    return result


def _write(network: keras.Model, dataset: Dataset, folder: pathlib.Path, max_accuracy_drop: float) -> dict[str, Any]:
    stages, end = export_chain(network, dataset.train[0][:CALIBRATION_IMAGES], folder)
    write_resize(stages[0], dataset.resize)
    images, labels = dataset.validation
    routing = calibrate(
        list(Chain(stages).predict_every_exit(images)), labels, cost.macs_per_output(network), max_accuracy_drop
    )
    measurable = importlib.util.find_spec("tflite_micro") is not None
    rows: list[dict[str, Any]] = []
    for stage, macs, share in zip(stages, routing.macs_per_exit, routing.shares, strict=True):
        arena = measure_arena(stage) if measurable else None
        write_stage_array(stage, stage.stem, folder, arena_bytes=arena)
        row = {"file": stage.name, "bytes": stage.stat().st_size, "arena_bytes": arena}
        rows.append({**row, "macs": macs, "validation_share": share})
    for row, threshold in zip(rows, routing.thresholds, strict=False):
        row |= {"threshold": threshold, "threshold_int8": int8_threshold(threshold)}
    result: dict[str, Any] = {
        "dataset": dataset.name,
        "labels": list(dataset.class_names),
        "resize": dataset.resize,
        "stages": rows,
        "max_accuracy_drop": max_accuracy_drop,
        "validation": {
            "images": len(labels),
            "accuracy": routing.accuracy,
            "end_accuracy": routing.end_accuracy,
            "worst_drop": routing.worst_drop,
            "images_needed": routing.images_needed,
        },
    }
    write_json(result, folder / ROUTING)

    images, labels = dataset.test
    classifier = RoutedClassifier(folder)
    answers, exits = classifier.route(images)
    every = np.array([answer.argmax(axis=-1) == labels for answer in classifier.predict_every_exit(images)])
    shares = np.bincount(exits, minlength=len(rows)) / len(labels)
    for row, share, right in zip(rows, shares, every, strict=True):
        row |= {"test_share": float(share), "test_accuracy": float(right.mean())}
    with tempfile.TemporaryDirectory() as temporary:
        end_file = pathlib.Path(temporary, "end.tflite")
        end_file.write_bytes(end)
        milliseconds = [
            measure(one, images[:LATENCY_IMAGES], labels[:LATENCY_IMAGES]).mean_ms
            for one in (classifier, LiteRTClassifier(end_file))
        ]
    result["test"] = {
        "images": len(labels),
        "accuracy": float(np.mean(answers.argmax(axis=-1) == labels)),
        "end_accuracy": float(every[-1].mean()),
        "mean_macs": float(shares @ np.array(routing.macs_per_exit)),
        "mean_ms": milliseconds[0],
        "end_mean_ms": milliseconds[1],
    }
    write_json(result, folder / ROUTING)
    write_header(stages, routing.thresholds, dataset.class_names, folder / HEADER)
    write_lines(dataset.class_names, folder / LABELS)
    plot_routing(images, labels, answers.argmax(axis=-1), exits, shares, dataset.class_names, folder / PICTURE)
    return result


def _promise(result: dict[str, Any]) -> str:
    """What was promised, and what it takes where nothing can leave early under it."""
    drop, validation = result["max_accuracy_drop"], result["validation"]
    promised = f"promised: at most {drop:.4f} of accuracy lost"
    if any(row["validation_share"] for row in result["stages"][:-1]):
        return (
            f"{promised}; at most {validation['worst_drop']:.4f}, with 95 % confidence, by "
            f"{validation['images'] // 2:,} validation images"
        )
    if validation["images_needed"]:
        return (
            f"{promised}: NO image leaves early. With 95 % confidence that takes about {validation['images_needed']:,} "
            f"validation images, there are {validation['images']:,}: give more, or a larger --max_accuracy_drop"
        )
    return f"{promised}: NO image leaves early, the exits lose more than that however many validation images there are"


def table(result: dict[str, Any]) -> str:
    """What routing comes to, for a person."""
    lines = [
        f"{'stage':<16}{'bytes':>10}{'arena':>10}{'MACs so far':>14}{'threshold':>11}{'accuracy':>10}{'leave here':>12}"
    ]
    for row in result["stages"]:
        threshold = row.get("threshold")
        shown = "end" if threshold is None else "not used" if threshold > 1 else f"{threshold:.4f}"
        arena = "-" if row["arena_bytes"] is None else f"{row['arena_bytes']:,}"
        lines.append(
            f"{row['file']:<16}{row['bytes']:>10,}{arena:>10}{row['macs']:>14,}{shown:>11}"
            f"{row['test_accuracy']:>10.4f}{row['test_share']:>12.1%}"
        )
    if any(row["arena_bytes"] is None for row in result["stages"]):
        lines.append("arenas were not measured: that needs TFLite Micro, pip install 'odn_keras[micro]'")
    test, end_macs = result["test"], result["stages"][-1]["macs"]
    return "\n".join(
        [
            *lines,
            _promise(result),
            "",
            f"{'':<16}{'accuracy':>10}{'mean MACs':>14}{'mean ms':>10}",
            f"{'end only':<16}{test['end_accuracy']:>10.4f}{end_macs:>14,}{test['end_mean_ms']:>10.3f}",
            f"{'routed':<16}{test['accuracy']:>10.4f}{test['mean_macs']:>14,.0f}{test['mean_ms']:>10.3f}",
            f"{'change':<16}{test['accuracy'] - test['end_accuracy']:>+10.4f}{test['mean_macs'] / end_macs - 1:>14.1%}"
            f"{test['mean_ms'] / test['end_mean_ms'] - 1:>10.1%}",
            f"int8, on {test['images']:,} test images (latency on the first {min(LATENCY_IMAGES, test['images']):,}), "
            "in LiteRT on this machine, one thread",
        ]
    )
