"""Exports a trained network as the files that devices load, and measures each in the runtime of the device."""

import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.data.resizing import STRETCH
from odn_keras.deploy.android.rgb_file import export_android
from odn_keras.deploy.convert.exportable import unwrapped
from odn_keras.deploy.convert.qat import BATCH_SIZE
from odn_keras.deploy.export_choices import ANDROID, MICROCONTROLLER, ExportChoices
from odn_keras.deploy.measured_file import ExportedFile, answers_of_test, calibration_images, export_measured, measured
from odn_keras.deploy.micro.c_array import RESIZED, write_c_array
from odn_keras.deploy.micro.cmsis_nn import arena_with_cmsis_nn
from odn_keras.deploy.micro.tflite_micro import MicroClassifier, measure_arena
from odn_keras.deploy.micro.vela import compile_for_ethos_u
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite_file.metadata import LABELS
from odn_keras.deploy.tflite_file.reject_metadata import Reject, write_reject
from odn_keras.deploy.tflite_file.resize_metadata import write_resize
from odn_keras.devices.withholding import Withheld, describe, withholding
from odn_keras.errors import InputError
from odn_keras.files import replacing_files, write_json, write_lines
from odn_keras.networks.budget import Budget

MODEL, RGB_MODEL, VELA_MODEL, REPORT = "model.tflite", "android.tflite", "model_vela.tflite", "export.json"
FILES = (MODEL, RGB_MODEL, VELA_MODEL, LABELS, "model.cc", "model.h", REPORT)
LOUD_LOSS = 0.01  # of accuracy, against the float network
COMPARED_IMAGES = 20  # in TFLite Micro's portable kernels, which are slow


def export(
    network: keras.Model,
    dataset: Dataset,
    out: str | os.PathLike,
    choices: ExportChoices | None = None,
    *,
    name: str = "classifier",
) -> dict[str, Any]:
    """Writes `model.tflite` and, if it is an integer file, what the targets need besides: all files or none.

    Calibration and quantisation-aware training see training images only; accuracies are of the test images.

    Args:
        network: as `export_tflite` takes it.
        dataset: what it was trained on.
        out: the folder, made if need be; a path in which `~` is the home folder. Files of an earlier export go.
        choices: default: those of `ExportChoices`.
        name: of the model, in Android's metadata.

    Returns:
        What `export.json` holds.

    Raises:
        InputError: where the network, the dataset and the choices do not fit together, or a tool is missing.
    """
    choices = choices or ExportChoices()
    choices.check()
    network = unwrapped(network)
    _check_fit(network, dataset, choices)
    with replacing_files(pathlib.Path(out).expanduser(), earlier=FILES, marker=REPORT) as folder:
        write_lines(dataset.class_names, folder / LABELS)
        if ANDROID in choices.all_targets:  # the first: where a network cannot be one of RGB images this fails at once
            path = folder / RGB_MODEL
            export_android(network, calibration_images(dataset), dataset.class_names, path=path, name=name)
            write_resize(path, dataset.resize)
        result = _write_model(network, dataset, folder, choices=choices)
        write_json(result, folder / REPORT)
    return result


def _check_fit(network: keras.Model, dataset: Dataset, choices: ExportChoices) -> None:
    takes, gives = (tuple(tensors[0].shape[1:]) for tensors in (network.inputs, network.outputs))
    if takes != dataset.input_shape or gives != (dataset.num_classes,):
        raise InputError(
            f"the network takes images of {takes} and has {gives[-1]} outputs, "
            f"{dataset.name} has images of {dataset.input_shape} in {dataset.num_classes} classes"
        )
    if choices.quantize == "qat" and len(dataset.train[1]) < BATCH_SIZE:
        raise InputError(
            f"quantisation-aware training needs at least {BATCH_SIZE} training images, {dataset.name} has "
            f"{len(dataset.train[1])}: quantize as int8"
        )


def _write_model(
    network: keras.Model, dataset: Dataset, folder: pathlib.Path, choices: ExportChoices
) -> dict[str, Any]:
    """Writes `model.tflite` and what is made of it; measures it, and the Android file that is there already."""
    float_answers = answers_of_test(network, dataset)
    file = export_measured(network, dataset, folder / MODEL, quantize=choices.quantize, float_answers=float_answers)
    file, withheld = _withhold(file, dataset, choices.reject)
    files = [_row(file) | withheld]
    result: dict[str, Any] = {
        "dataset": dataset.name,
        "quantize": choices.quantize,
        "resize": dataset.resize,
        "files": files,
    }
    arena, latency = None, None
    if MICROCONTROLLER in choices.all_targets:
        result["microcontroller"] = _microcontroller(file.path, dataset, folder)
        arena = result["microcontroller"]["arena_bytes"]
    if ANDROID in choices.all_targets:
        android, withheld = _withhold(
            measured(network, dataset, folder / RGB_MODEL, float_answers), dataset, choices.reject
        )
        files.append(_row(android) | withheld)
    if choices.vela:
        result["ethos_u"] = dataclasses.asdict(compile_for_ethos_u(file.path, choices.vela, folder / VELA_MODEL))
        latency = result["ethos_u"]["milliseconds"]
    result["budget"] = file.against(choices.budget, arena, latency)
    return result


def _withhold(file: ExportedFile, dataset: Dataset, promised: float | None) -> tuple[ExportedFile, dict[str, Any]]:
    """Writes into a file which answers to withhold; returns the file, and what its row in `export.json` has of that."""
    if promised is None:
        return file, {}
    if not file.probabilities:
        raise InputError("reject needs probabilities, and the network does not end with a softmax")
    images, labels = dataset.validation
    found = withholding(LiteRTClassifier(file.path).predict(images), labels, promised)
    write_reject(file.path, Reject(found.least_confidence, promised))
    test = Withheld.of(file.answers, found.least_confidence, dataset.test[1])
    described = {**dataclasses.asdict(found), "test": dataclasses.asdict(test)}
    return dataclasses.replace(file, bytes=file.path.stat().st_size), {"reject": described}


def _row(file: ExportedFile) -> dict[str, Any]:
    """The file as `export.json` lists it: size, how to feed it, accuracy and latency in LiteRT."""
    fed: dict[str, Any] = {"feed": file.feed}
    if file.input_error is not None:
        fed |= {"largest_error_steps": file.input_error, **dataclasses.asdict(file.input)}
    return {
        "file": file.path.name,
        "bytes": file.bytes,
        "input": fed,
        "probabilities": file.probabilities,
        **dataclasses.asdict(file.measurement),
        "float_accuracy": file.float_accuracy,
        "difference": file.difference,
    }


def _microcontroller(path: pathlib.Path, dataset: Dataset, out: pathlib.Path) -> dict[str, Any]:
    """Writes the C array; the arena, and how far TFLite Micro's outputs are from LiteRT's."""
    arena = measure_arena(path)
    write_c_array(path, dataset.class_names, out, arena_bytes=arena)
    images = dataset.train[0][:COMPARED_IMAGES]
    ours, theirs = (
        runtime(path).predict_quantized(images).astype(int) for runtime in (MicroClassifier, LiteRTClassifier)
    )
    return {
        "arena_bytes": arena,
        "arena_bytes_cmsis_nn": arena_with_cmsis_nn(path, arena),
        "largest_difference_steps": int(np.abs(ours - theirs).max()),
    }


def _loss(file: dict[str, Any]) -> str:
    lost = 100 * (file["float_accuracy"] - file["accuracy"])
    return (
        f"WARNING: {file['file']} loses {lost:.1f} points of accuracy: the float network has "
        f"{file['float_accuracy']:.4f}; try --quantize=qat, or float16 where a device computes in float"
    )


def table(result: dict[str, Any]) -> str:
    """A table of the exported files, with notes.

    Args:
        result: what `export.json` holds.
    """
    lines = [f"{'file':<20}{'bytes':>12}{'accuracy':>10}{'ms, median':>12}{'ms, 95 %':>10}"]
    lines += [
        f"{file['file']:<20}{file['bytes']:>12,}{file['accuracy']:>10.4f}{file['median_ms']:>12.3f}{file['p95_ms']:>10.3f}"
        for file in result["files"]
    ]
    lines.append(f"accuracy of {result['files'][0]['images']:,} test images, in LiteRT on this machine, one thread")
    lines += [_loss(file) for file in result["files"] if file["float_accuracy"] - file["accuracy"] > LOUD_LOSS]
    for file in result["files"]:
        lines += [f"{file['file']}: {line}" for line in describe(file.get("reject"))]
    if not result["files"][0]["probabilities"]:
        lines.append("the outputs are no probabilities but other scores: the network does not end with a softmax")
    if result["resize"] != STRETCH:
        lines.append(
            f"training {RESIZED[result['resize']]} a picture of other proportions: do so before you feed one. "
            "MediaPipe stretches it, whatever the file says; odn_keras.classify does as training did"
        )
    if micro := result.get("microcontroller"):
        lines.append(
            f"TFLite Micro: arena of {micro['arena_bytes']:,} bytes, with CMSIS-NN {micro['arena_bytes_cmsis_nn']:,} "
            f"(predicted); outputs within {micro['largest_difference_steps']} of LiteRT's, in steps of 1/256"
        )
    if npu := result.get("ethos_u"):
        lines.append(
            f"{npu['configuration']} (Vela's estimate): {npu['sram_bytes']:,} bytes of SRAM, {npu['flash_bytes']:,} of "
            f"flash, {npu['milliseconds']:.2f} ms, {npu['cpu_operators']} operators left to the CPU"
        )
    if result["budget"]:
        lines.append(Budget.summary(result["budget"]))
    return "\n".join(lines)
