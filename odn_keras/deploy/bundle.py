"""A trained network -> the files that devices load, each loaded and measured in a device's own runtime."""

import dataclasses
import importlib.util
import os
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np

from odn_keras.data.datasets import Dataset
from odn_keras.data.resizing import STRETCH
from odn_keras.deploy.android.rgb_file import export_android
from odn_keras.deploy.convert.exportable import unwrapped
from odn_keras.deploy.convert.qat import BATCH_SIZE
from odn_keras.deploy.convert.tflite import QUANTIZATIONS
from odn_keras.deploy.measured_file import ExportedFile, answers_of_test, calibration_images, export_measured, measured
from odn_keras.deploy.micro.c_array import RESIZED, write_c_array
from odn_keras.deploy.micro.tflite_micro import MicroClassifier, measure_arena
from odn_keras.deploy.micro.vela import check_configuration, compile_for_ethos_u
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite_file.metadata import LABELS
from odn_keras.deploy.tflite_file.resize_metadata import write_resize
from odn_keras.errors import InputError
from odn_keras.files import TEMPORARY_PREFIX, write_json, write_lines
from odn_keras.networks.budget import Budget

MODEL, ANDROID, VELA, REPORT = "model.tflite", "android.tflite", "model_vela.tflite", "export.json"
FILES = (MODEL, ANDROID, VELA, LABELS, "model.cc", "model.h", REPORT)
LOUD_LOSS = 0.01  # of accuracy, against the float network
COMPARED_IMAGES = 20  # in TFLite Micro's portable kernels, which take their time
TARGETS = ("microcontroller", "android")
CHOICES = (*QUANTIZATIONS, "qat")
TARGETS_OF = {"int8": TARGETS, "qat": ("microcontroller",)}  # fine-tuned weights are in their int8 file only


def export(
    network: keras.Model,
    dataset: Dataset,
    out: str | os.PathLike,
    *,
    quantize: str = "int8",
    targets: tuple[str, ...] | None = None,
    vela: str | None = None,
    budget: Budget | None = None,
    name: str = "classifier",
) -> dict[str, Any]:
    """Writes `model.tflite` and, if it is an integer one, what the targets want besides.

    Calibration and quantisation-aware training see training images only; accuracies are of the test images.

    Args:
        network: as `export_tflite` takes it.
        dataset: what it was trained on.
        out: the folder, made if need be; a path in which `~` is the home folder.
        quantize: one of `QUANTIZATIONS`, or `"qat"` for quantisation-aware training.
        targets: `"microcontroller"` for `model.cc` and `model.h`, with the arena measured in TFLite Micro; `"android"`
            for `android.tflite`, of three channels and with metadata. Default: with `"int8"` both, with `"qat"` the
            first, with the others none; no more is possible.
        vela: an Ethos-U configuration such as `"ethos-u55-128"`, for `model_vela.tflite`.
        budget: what `model.tflite`, its arena in TFLite Micro and its latency (in LiteRT on one thread of this machine;
            with `vela` that of Vela's estimate) are held against; nothing is changed to keep it.
        name: of the model, in Android's metadata.

    Returns:
        What `export.json` holds.

    Raises:
        InputError: where the network, the dataset and the choices do not fit together, or a tool is missing.
    """
    check_choices(quantize, targets, vela, budget)
    out, network = pathlib.Path(out).expanduser(), unwrapped(network)
    takes, gives = (tuple(tensors[0].shape[1:]) for tensors in (network.inputs, network.outputs))
    if takes != dataset.input_shape or gives != (dataset.num_classes,):
        raise InputError(
            f"the network takes images of {takes} and has {gives[-1]} outputs, "
            f"{dataset.name} has images of {dataset.input_shape} in {dataset.num_classes} classes"
        )
    if quantize == "qat" and len(dataset.train[1]) < BATCH_SIZE:
        raise InputError(
            f"quantisation-aware training needs at least {BATCH_SIZE} training images, {dataset.name} has "
            f"{len(dataset.train[1])}: quantize as int8"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=out.parent) as name_of_folder:
        folder = pathlib.Path(name_of_folder)
        chosen = TARGETS_OF.get(quantize, ()) if targets is None else targets
        result = _write(network, dataset, folder, quantize, chosen, vela, budget, name)
        out.mkdir(exist_ok=True)
        for file in FILES:  # all of them or none; those of an earlier export go
            if (folder / file).exists():
                os.replace(folder / file, out / file)
            else:
                (out / file).unlink(missing_ok=True)
    return result


def _write(network, dataset, out, quantize, targets, vela, budget, name) -> dict[str, Any]:
    write_lines(dataset.class_names, out / LABELS)
    if "android" in targets:  # the first, for not every network can be one of RGB images, and this says so at once
        export_android(network, calibration_images(dataset), dataset.class_names, out / ANDROID, name=name)
        write_resize(out / ANDROID, dataset.resize)
    float_answers = answers_of_test(network, dataset)
    file = export_measured(network, dataset, out / MODEL, quantize, float_answers)
    files = [_row(file)]
    result: dict[str, Any] = {"dataset": dataset.name, "quantize": quantize, "resize": dataset.resize, "files": files}
    arena = None
    if "microcontroller" in targets:
        result["microcontroller"] = _microcontroller(file.path, dataset, out)
        arena = result["microcontroller"]["arena_bytes"]
    if "android" in targets:
        files.append(_row(measured(network, dataset, out / ANDROID, float_answers)))
    latency = None
    if vela:
        result["ethos_u"] = dataclasses.asdict(compile_for_ethos_u(file.path, vela, out / VELA))
        latency = result["ethos_u"]["milliseconds"]
    result["budget"] = file.against(budget, arena, latency)
    write_json(result, out / REPORT)
    return result


def check_choices(
    quantize: str, targets: tuple[str, ...] | None, vela: str | None, budget: Budget | None = None
) -> None:
    """Raises `InputError` for arguments of `export` that are not known, or not together, or need what is missing."""
    if quantize not in CHOICES:
        raise InputError(f"quantize must be one of {', '.join(CHOICES)}, got {quantize!r}")
    possible = TARGETS_OF.get(quantize, ())
    for target in targets or ():
        if target not in TARGETS:
            raise InputError(f"targets must be among {', '.join(TARGETS)}, got {target!r}")
        if target not in possible:
            allowing = " or ".join(choice for choice, allowed in TARGETS_OF.items() if target in allowed)
            raise InputError(f"the target {target} needs a file quantised as {allowing}, not {quantize}")
    if vela and quantize not in TARGETS_OF:
        raise InputError(f"Ethos-U takes integer files only: quantize as int8 or qat, not {quantize}")
    if _limits_arena(budget) and quantize not in TARGETS_OF:
        raise InputError(f"only integer files have an arena: quantize as int8 or qat, not {quantize}")
    micro = _limits_arena(budget) or "microcontroller" in (possible if targets is None else targets)
    needed = {
        "micro": ("tflite_micro", micro),
        "qat": ("tensorflow_model_optimization", quantize == "qat"),
    }
    for extra, (package, is_needed) in needed.items():
        if is_needed and importlib.util.find_spec(package) is None:
            raise InputError(f"this export needs {package}: pip install 'odn_keras[{extra}]'")
    if vela:
        check_configuration(vela)


def _limits_arena(budget: Budget | None) -> bool:
    return budget is not None and budget.max_arena is not None


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
    return {"arena_bytes": arena, "largest_difference_steps": int(np.abs(ours - theirs).max())}


def _loss(file: dict[str, Any]) -> str:
    lost = 100 * (file["float_accuracy"] - file["accuracy"])
    return (
        f"WARNING: {file['file']} loses {lost:.1f} points of accuracy: the float network has "
        f"{file['float_accuracy']:.4f}; try --quantize=qat, or float16 where a device computes in float"
    )


def table(result: dict[str, Any]) -> str:
    """What was exported, for a person."""
    lines = [f"{'file':<20}{'bytes':>12}{'accuracy':>10}{'ms, median':>12}{'ms, 95 %':>10}"]
    lines += [
        f"{file['file']:<20}{file['bytes']:>12,}{file['accuracy']:>10.4f}{file['median_ms']:>12.3f}{file['p95_ms']:>10.3f}"
        for file in result["files"]
    ]
    lines.append(f"accuracy of {result['files'][0]['images']:,} test images, in LiteRT on this machine, one thread")
    lines += [_loss(file) for file in result["files"] if file["float_accuracy"] - file["accuracy"] > LOUD_LOSS]
    if not result["files"][0]["probabilities"]:
        lines.append("the outputs are no probabilities but other scores: the network does not end with a softmax")
    if result["resize"] != STRETCH:
        lines.append(
            f"training {RESIZED[result['resize']]} a picture of other proportions: do so before you feed one. "
            "MediaPipe stretches it, whatever the file says; odn_keras.classify does as training did"
        )
    if micro := result.get("microcontroller"):
        lines.append(
            f"TFLite Micro: arena of {micro['arena_bytes']:,} bytes; outputs within "
            f"{micro['largest_difference_steps']} of LiteRT's, in steps of 1/256"
        )
    if npu := result.get("ethos_u"):
        lines.append(
            f"{npu['configuration']} (Vela's estimate): {npu['sram_bytes']:,} bytes of SRAM, {npu['flash_bytes']:,} of "
            f"flash, {npu['milliseconds']:.2f} ms, {npu['cpu_operators']} operators left to the CPU"
        )
    if result["budget"]:
        lines.append(Budget.told(result["budget"]))
    return "\n".join(lines)
