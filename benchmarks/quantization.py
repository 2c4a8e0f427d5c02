"""What each kind of `.tflite` file of a finished run keeps of its accuracy, and its size.

    python -m benchmarks.quantization --run=runs/fashion_mnist --data_dir=DIR

Quantisation-aware training trains longer than the run did. So that this is not taken for its merit, the float network
is also fine-tuned alike (same images, optimizer, schedule and epochs, the best epoch by validation) and quantised
plainly. Validation images choose; the test images are looked at once, at the end.
"""

import pathlib
import tempfile

from absl import flags

from odn_keras import cli
from odn_keras.runs.finished_run import finished_report
from odn_keras.runs.options import RunOptions


def fine_tuned(network, dataset, *, epochs: int, learning_rate: float, batch_size: int, seed: int):
    """A copy of the float network, fine-tuned as `export_qat` does and its best epoch chosen alike."""
    import keras
    import numpy as np

    from odn_keras import Batches, EvaluationBatches
    from odn_keras.networks.builder import with_dtype

    network = with_dtype(network, "float32")
    batches = Batches(dataset.train, dataset.num_classes, batch_size, seed)
    validation = EvaluationBatches(dataset.validation, dataset.num_classes, 500)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * len(batches))
    network.compile(keras.optimizers.Adam(schedule), "categorical_crossentropy", metrics=["accuracy"])
    best, best_weights = -np.inf, None
    for epoch in range(epochs + 1):
        if epoch:
            network.fit(batches, verbose=0)
        value = network.evaluate(validation, verbose=0, return_dict=True)["accuracy"]
        if value > best:
            best, best_weights = value, network.get_weights()
    network.set_weights(best_weights)
    return network


def define_flags() -> None:
    flags.DEFINE_string("run", None, "The folder of a finished run.", required=True)
    flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets keeps its data; default: as the run.")
    flags.DEFINE_integer("epochs", 3, "Epochs of fine-tuning.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 1e-3, "Of Adam, at the start of the fine-tuning.")
    flags.DEFINE_integer("batch_size", 128, "Images of a step of the fine-tuning.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the fine-tuning's shuffling.")


def main() -> None:
    values = flags.FLAGS
    folder = pathlib.Path(values.run)
    report = finished_report(folder)
    options = RunOptions(**{**report["options"], **({"data_dir": values.data_dir} if values.data_dir else {})})
    cli.import_keras()
    cli.wake_backend()
    from odn_keras import LiteRTClassifier, export_tflite, load
    from odn_keras.deploy.convert.qat import export_qat
    from odn_keras.deploy.convert.tflite import CALIBRATION_IMAGES
    from odn_keras.runs import run_data

    network, dataset = load(folder / "model.keras"), run_data.load_by_options(options)
    calibration = dataset.train[0][:CALIBRATION_IMAGES]
    tuning = {name: values[name].value for name in ("epochs", "learning_rate", "batch_size", "seed")}
    longer = fine_tuned(network, dataset, **tuning)
    with tempfile.TemporaryDirectory() as temporary:

        def row(name: str, export, *arguments, **choices) -> tuple[str, pathlib.Path, int]:
            path = pathlib.Path(temporary, f"{name}.tflite")
            return name, path, export(*arguments, path, **choices)

        rows = [
            row("float32", export_tflite, network, None, quantize="none"),
            row("float16", export_tflite, network, None, quantize="float16"),
            row("dynamic range", export_tflite, network, None, quantize="dynamic"),
            row("int8", export_tflite, network, calibration),
            row("int8, quantisation-aware", export_qat, network, dataset.train, dataset.validation, **tuning),
            row("float32, fine-tuned alike", export_tflite, longer, None, quantize="none"),
            row("int8 of that", export_tflite, longer, calibration),
        ]
        print(f"{options.dataset}, depth {report['depth']}, width {options.width}, {report['params']:,} parameters")
        print(f"{'':<28}{'validation':>12}{'test':>10}{'bytes':>12}")
        for name, path, size in rows:
            found = [LiteRTClassifier(path).accuracy(*split) for split in (dataset.validation, dataset.test)]
            print(f"{name:<28}{found[0]:>12.4f}{found[1]:>10.4f}{size:>12,}", flush=True)


if __name__ == "__main__":
    cli.run(main, define_flags)
