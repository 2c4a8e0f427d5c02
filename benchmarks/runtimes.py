"""One exported network in every runtime that is installed, against the full-depth float network it replaces.

    python -m benchmarks.runtimes --run=runs/mnist --data_dir=DIR

The files are those of `python -m odn_keras.export --run=...`. Latency is of one image on one thread, medians; the full
network has random weights, which take as long as others. Outputs are compared with LiteRT's, in steps of 1/256.
"""

import dataclasses
import importlib.util
import pathlib
import tempfile
from typing import Any

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.options import DataOptions
from odn_keras.run_folder import finished_report

FILES = {"litert": "model.tflite", "tflite_micro": "model.tflite", "mediapipe": "android.tflite"}
MODULES = {"litert": "ai_edge_litert", "tflite_micro": "tflite_micro", "mediapipe": "mediapipe"}
FULL_IMAGES = 100


def _read(folder: pathlib.Path) -> dict[str, Any]:
    report = finished_report(folder)
    if not (folder / "export" / FILES["litert"]).is_file():
        raise InputError(f"{folder} is not exported: python -m odn_keras.export --run={folder}")
    return report


def _full_network(report: dict[str, Any], dataset, path: pathlib.Path) -> None:
    from odn_keras import RunOptions, build, export_tflite, training

    spec = training.network_spec(RunOptions(**report["options"]), dataset)
    export_tflite(build(spec, spec.max_depth), None, path, quantize="none")


def define_flags() -> None:
    flags.DEFINE_string("run", None, "The folder of a finished and exported run.", required=True)
    flags.DEFINE_string("data_dir", None, "Where TensorFlow Datasets keeps its data; default: as the run.")
    flags.DEFINE_integer("images", 1000, "Test images to classify; in TFLite Micro a tenth of them.", lower_bound=10)


def main() -> None:
    values = flags.FLAGS
    folder = pathlib.Path(values.run)
    report = _read(folder)
    cli.import_keras()
    import numpy as np

    from odn_keras import data
    from odn_keras.deploy.runtimes import measure, open_classifier

    chosen = {field.name: report["options"][field.name] for field in dataclasses.fields(DataOptions)}
    dataset = data.load(DataOptions(**{**chosen, "data_dir": values.data_dir or chosen["data_dir"]}))
    images, labels = dataset.test[0][: values.images], dataset.test[1][: values.images]
    reference = open_classifier(folder / "export" / FILES["litert"]).predict(images)

    def row(name: str, path: pathlib.Path, runtime: str, count: int, compare: bool = True) -> tuple[float, int]:
        """Prints one line; returns milliseconds and bytes."""
        classifier = open_classifier(path, runtime)
        measured, size = measure(classifier, images[:count], labels[:count]), path.stat().st_size
        line = f"{name:<28}{size:>12,}{count:>8,}{measured.median_ms:>10.3f}"
        if compare:
            answers = classifier.predict(images[:count])
            steps = np.abs(answers - reference[:count]).max() * 256
            other = np.mean(answers.argmax(axis=-1) != reference[:count].argmax(axis=-1))
            line += f"{measured.accuracy:>10.4f}{steps:>14.1f} steps{other:>13.2%}"
        print(line, flush=True)
        return measured.median_ms, size

    print(f"{'':<28}{'bytes':>12}{'images':>8}{'ms':>10}{'accuracy':>10}{'difference':>20}{'other label':>13}")
    found = {}
    for runtime, file in FILES.items():
        if importlib.util.find_spec(MODULES[runtime]):
            count = len(images) // (10 if runtime == "tflite_micro" else 1)
            found[runtime] = row(f"{runtime}, {file}", folder / "export" / file, runtime, count)
        else:
            print(f"{runtime:<28}  not installed here")
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary, "full.tflite")
        _full_network(report, dataset, path)
        full = row(f"litert, full {report['backbone']}, float", path, "litert", FULL_IMAGES, compare=False)
    faster, smaller = (theirs / ours for theirs, ours in zip(full, found["litert"], strict=True))
    print(
        f"\nthe int8 file in LiteRT is {faster:.1f} times faster and {smaller:.0f} times smaller than the full network"
    )


if __name__ == "__main__":
    cli.run(main, define_flags)
