"""One run, from a dataset to a measured `.tflite`: what `python -m odn_keras.train` does."""

import pathlib
import sys
import tempfile
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

from odn_keras import builder, cost, report
from odn_keras.batches import Batches, EvaluationBatches
from odn_keras.data import Dataset, load_dataset
from odn_keras.deploy.runtimes import LiteRTClassifier
from odn_keras.deploy.tflite import MIN_CALIBRATION_IMAGES, export_tflite
from odn_keras.errors import InputError
from odn_keras.files import replacing
from odn_keras.growth import DepthGrowth, OptimallyDeepNetwork, TrainingDiverged
from odn_keras.options import RunOptions
from odn_keras.recipes import Augmentation, precision

RUN_FILES = ("model.tflite", "model.keras", "labels.txt", "history.csv", "growth.png", "report.json")
CALIBRATION_IMAGES = 1000
EVALUATION_BATCH = 500


def run(options: RunOptions, out: str | pathlib.Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Trains by progressive depth expansion, exports, measures, and leaves everything in a folder.

    Args:
        options: of the run.
        out: the run's folder, made if need be.
        overwrite: whether the run that `out` holds may be replaced.

    Returns:
        What `report.json` holds.

    Raises:
        InputError: for data or a folder that cannot be used; nothing is written then.
        TrainingDiverged: where the loss becomes NaN; `model.keras` then holds the best weights before that.
    """
    out = pathlib.Path(out)
    _check_folder(out, overwrite)
    dataset = load_dataset(
        options.dataset,
        data_dir=options.data_dir,
        image_size=(options.image_size, options.image_size) if options.image_size else None,
        grayscale=options.grayscale,
        validation_images=options.validation_images,
        train_images=options.train_images,
        in_memory=options.in_memory,
        spool_dir=_disk_of(out),
    )
    if len(dataset.train[0]) < options.batch_size:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images, "
            f"fewer than a batch of {options.batch_size}: lower --batch_size"
        )
    if len(dataset.train[0]) < MIN_CALIBRATION_IMAGES:
        raise InputError(
            f"{options.dataset} has {len(dataset.train[0])} training images: "
            f"the int8 export is calibrated on at least {MIN_CALIBRATION_IMAGES}"
        )
    _claim_folder(out)
    model, growth = _grow(options, dataset, out)
    network = _save(model.network, out)
    report.draw_growth(growth, f"{options.dataset}, {options.backbone}, width {options.width}", out / "growth.png")
    return _deploy(network, growth, model.spec, options, dataset, out)


def _grow(options: RunOptions, dataset: Dataset, out: pathlib.Path) -> tuple[OptimallyDeepNetwork, DepthGrowth]:
    keras.utils.set_random_seed(options.seed)
    model = OptimallyDeepNetwork(
        options.backbone,
        dataset.input_shape,
        dataset.num_classes,
        width=options.width,
        stem_stride=options.stem_stride,
        dtype=precision(options.precision),
    )
    model.compile(
        keras.optimizers.SGD(
            options.learning_rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay or None
        ),
        loss="categorical_crossentropy",
    )
    growth = DepthGrowth(
        options.target_accuracy,
        max_depth=options.max_depth,
        freeze=options.freeze,
        margin=options.margin,
        patience=options.patience,
        min_delta=options.min_delta,
        finetune_epochs=options.finetune_epochs,
    )
    batches = Batches(
        dataset.train,
        dataset.num_classes,
        options.batch_size,
        options.seed,
        Augmentation(options.shift, options.rotate, options.zoom, options.flip),
        options.label_smoothing,
    )
    try:
        model.fit(
            batches,
            epochs=options.epochs,
            validation_data=EvaluationBatches(dataset.validation, dataset.num_classes, EVALUATION_BATCH),
            verbose=1 if sys.stdout.isatty() else 2,  # in a log file, one line an epoch instead of a moving bar
            callbacks=[growth, _Recorder(growth, dataset.class_names, out)],
        )
    except TrainingDiverged as error:
        if growth.best_weights is None:
            raise
        raise TrainingDiverged(f"{error}; the best weights before that are in {out / 'model.keras'}") from error
    return model, growth


class _Recorder(keras.callbacks.Callback):
    """After every epoch: the history so far; after every better one: the network.

    Only then does an earlier run in the same folder give way.
    """

    def __init__(self, growth: DepthGrowth, class_names: tuple[str, ...], out: pathlib.Path):
        super().__init__()
        self._growth, self._class_names, self._out = growth, class_names, out
        self._history: dict[str, list[float]] = {}

    def on_epoch_end(self, epoch, logs=None):
        if not self._history:
            for name in RUN_FILES:
                (self._out / name).unlink(missing_ok=True)
            with replacing(self._out / "labels.txt") as temporary:
                temporary.write_text("".join(f"{name}\n" for name in self._class_names), encoding="utf-8")
        for name, value in (logs or {}).items():
            self._history.setdefault(name, []).append(value)
        report.write_history(self._history, self._growth.stages, self._out / "history.csv")
        if self._growth.stages[-1].values[-1] == self._growth.best:
            _save(self.model, self._out)


def _save(network: keras.Model, out: pathlib.Path) -> keras.Model:
    """Saves the network in float32, thawed and without optimizer: any backend loads it."""
    network = builder.with_dtype(network, "float32")
    builder.set_frozen(network, None)
    with replacing(out / "model.keras") as temporary:
        network.save(temporary)
    return network


def _deploy(network, growth: DepthGrowth, spec, options: RunOptions, dataset: Dataset, out: pathlib.Path) -> dict:
    """Exports the network, measures it on the test images, for the first and only time, and writes the report."""
    calibration = dataset.train[0][:CALIBRATION_IMAGES]
    tflite_bytes = export_tflite(network, calibration, out / "model.tflite")
    print("\nmeasuring the test accuracy of the float network and, in LiteRT, of the int8 file ...", flush=True)
    images, labels = dataset.test
    classifier = LiteRTClassifier(out / "model.tflite")
    probabilities = network.predict(EvaluationBatches(dataset.test, dataset.num_classes, EVALUATION_BATCH), verbose=0)

    full = builder.build(spec, spec.max_depth)
    full_bytes = cost.float_bytes(cost.params(full))
    stages = report.stage_rows(growth.stages, len(dataset.train[0]))
    result = {
        "dataset": options.dataset,
        "backbone": options.backbone,
        "width": options.width,
        "depth": builder.depth_of(network),
        "max_depth": spec.max_depth,
        "target_accuracy": options.target_accuracy,
        "target_met": growth.target_met,
        "params": cost.params(network),
        "full_params": cost.params(full),
        "param_reduction": 1 - cost.params(network) / cost.params(full),
        "macs": cost.macs(network),
        "full_macs": cost.macs(full),
        "training_macs": sum(stage["training_macs"] for stage in stages),
        "epochs": sum(stage["epochs"] for stage in stages),
        "stages": stages,
        "val_accuracy": growth.best,
        "test_accuracy": float(np.mean(probabilities.argmax(axis=-1) == labels)),
        "int8_test_accuracy": classifier.accuracy(images, labels),
        "tflite_bytes": tflite_bytes,
        "float_full_bytes": full_bytes,
        "memory_reduction": 1 - tflite_bytes / full_bytes,
        "input_quantization": asdict(classifier.input),
        "output_quantization": asdict(classifier.output),
        "input": {
            "feed": "pixel p (0..255) as the int8 number p - 128",
            "largest_error_steps": classifier.input_error(),
        },
        "images": {
            "train": len(dataset.train[0]),
            "validation": len(dataset.validation[0]),
            "test": len(images),
            "shape": list(dataset.input_shape),
        },
        "seed": options.seed,
        "backend": keras.backend.backend(),
        "precision": precision(options.precision),
        "options": asdict(options),
        "versions": report.versions(),
    }
    report.write_json(result, out / "report.json")
    return result


def _check_folder(out: pathlib.Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, {out} is a file")
    if not overwrite and any((out / name).exists() for name in RUN_FILES):
        raise InputError(f"{out} holds another run: choose another --out, or replace it with --overwrite")


def _disk_of(out: pathlib.Path) -> str:
    """The folder, or the nearest above it that exists: where the user has room. Temporary folders may be in memory."""
    out = out.absolute()
    return str(next(folder for folder in (out, *out.parents) if folder.exists()))


def _claim_folder(out: pathlib.Path) -> None:
    """Makes the folder and makes sure that it can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {out} ({error.strerror}): choose another --out") from error
