"""A network with exits -> int8 files, the thresholds at which images leave, and measurements of both.

Thresholds are set on validation images, on the int8 files' own answers; test images are used once, at the end.
"""

import importlib.util
import pathlib
from typing import Any

import keras

from odn_keras.data.datasets import Dataset
from odn_keras.deploy.chain.chain_measurement import add_test_measurements
from odn_keras.deploy.chain.exit_chain import WITHOUT_EXITS, export_chain, write_header
from odn_keras.deploy.chain.routed_classifier import ROUTING, Chain, int8_threshold
from odn_keras.deploy.chain.routing_picture import plot_routing
from odn_keras.deploy.convert.tflite import CALIBRATION_IMAGES
from odn_keras.deploy.micro.c_array import write_stage_array
from odn_keras.deploy.micro.tflite_micro import measure_arena
from odn_keras.deploy.tflite_file.metadata import LABELS
from odn_keras.deploy.tflite_file.resize_metadata import write_resize
from odn_keras.devices.exit_thresholds import Routing, calibrate
from odn_keras.errors import InputError
from odn_keras.files import replacing_files, write_json, write_lines
from odn_keras.networks import cost

HEADER, PICTURE = "routing.h", "routing.png"
OF_STAGES = ("stage[0-9]*.tflite", "stage[0-9]*.cc", "stage[0-9]*.h")


def export_routed(
    network: keras.Model, dataset: Dataset, out: pathlib.Path, max_accuracy_drop: float = 0.005
) -> dict[str, Any]:
    """Writes a network with exits as files that an image goes through only as far as it needs: all files or none.

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
    _check_fit(network, dataset)
    with replacing_files(out, earlier=OF_STAGES, marker=ROUTING) as folder:
        stages, end = export_chain(network, dataset.train[0][:CALIBRATION_IMAGES], folder)
        write_resize(stages[0], dataset.resize)
        routing = _calibrated(network, dataset, stages, max_accuracy_drop=max_accuracy_drop)
        result = _describe(dataset, stages, routing, max_accuracy_drop=max_accuracy_drop)
        write_json(result, folder / ROUTING)  # what `RoutedClassifier` reads
        routed = add_test_measurements(result, dataset, folder, end=end)
        write_json(result, folder / ROUTING)
        write_header(stages, routing.thresholds, dataset.class_names, path=folder / HEADER)
        write_lines(dataset.class_names, folder / LABELS)
        plot_routing(routed, folder / PICTURE)
    return result


def _check_fit(network: keras.Model, dataset: Dataset) -> None:
    outputs = getattr(network, "outputs", [])
    if len(outputs) < 2:
        raise InputError(WITHOUT_EXITS)
    shapes = {tuple(output.shape[1:]) for output in outputs}
    if tuple(network.input_shape[1:]) != dataset.input_shape or shapes != {(dataset.num_classes,)}:
        raise InputError(
            f"the network takes images of {network.input_shape[1:]} and gives {sorted(shapes)}, "
            f"{dataset.name} has images of {dataset.input_shape} in {dataset.num_classes} classes"
        )


def _calibrated(
    network: keras.Model, dataset: Dataset, stages: list[pathlib.Path], max_accuracy_drop: float
) -> Routing:
    """The thresholds, set on the stages' answers to the validation images."""
    images, labels = dataset.validation
    answers = list(Chain(stages).predict_every_exit(images))
    return calibrate(answers, labels, cost.macs_per_output(network), max_accuracy_drop=max_accuracy_drop)


def _describe(
    dataset: Dataset, stages: list[pathlib.Path], routing: Routing, max_accuracy_drop: float
) -> dict[str, Any]:
    """The stages, written as C++ too, and the validation images' share in them, as `routing.json` has them."""
    measurable = importlib.util.find_spec("tflite_micro") is not None
    rows: list[dict[str, Any]] = []
    for stage, macs, share in zip(stages, routing.macs_per_exit, routing.shares, strict=True):
        arena = measure_arena(stage) if measurable else None
        write_stage_array(stage, stage.stem, stage.parent, arena_bytes=arena)
        row = {"file": stage.name, "bytes": stage.stat().st_size, "arena_bytes": arena}
        rows.append({**row, "macs": macs, "validation_share": share})
    for row, threshold in zip(rows, routing.thresholds, strict=False):
        row |= {"threshold": threshold, "threshold_int8": int8_threshold(threshold)}
    return {
        "dataset": dataset.name,
        "labels": list(dataset.class_names),
        "resize": dataset.resize,
        "stages": rows,
        "max_accuracy_drop": max_accuracy_drop,
        "validation": {
            "images": len(dataset.validation[1]),
            "accuracy": routing.accuracy,
            "end_accuracy": routing.end_accuracy,
            "images_needed": routing.images_needed,
        },
    }
