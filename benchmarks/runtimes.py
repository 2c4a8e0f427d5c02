"""One exported network in every runtime, on the same real images, against the full-depth float network it replaces.

    python -m benchmarks.runtimes --tflite=tflite_models/mnist.tflite --android=tflite_models/mnist_rgb.tflite \
        --dataset=mnist --data_dir=DIR --python=tflite_runtime=boards/bin/python --python=mediapipe=android/bin/python

Two runtimes want a Python environment of their own, made beforehand; MediaPipe also Debian's libgles2 and libegl1:

    python -m venv boards && boards/bin/pip install tflite-runtime==2.14.0 "numpy<2"
    python -m venv android && android/bin/pip install mediapipe==1.2.2

Each runtime is a process. They take turns, a tenth of the images at a time, so that a noisy machine is so to all of
them. Outputs are compared with LiteRT's on the same file, LiteRT's on --android with those on --tflite. Latency is of
one image at a time. The full network has random weights, which take as long as others.
"""

import contextlib
import pathlib
import sys
import tempfile
from dataclasses import dataclass, field

from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.backbones import BACKBONES
from odn_keras.runs.options import DataOptions

ROUNDS = 10
HEADINGS = (
    *("runtime", "file", "bytes", "images", "accuracy", "other label", "largest difference"),
    *("ms, median", "ms, 95 %", "times faster", "times smaller"),
)


@dataclass
class Row:
    """A file in a runtime.

    Attributes:
        runtime: one of `RUNTIMES`.
        path: of the file.
        count: of the images that it classifies.
        reference: the row that its outputs are compared with, if any.
        known: whether the network has learned the dataset, so that accuracy means something.
        probabilities, milliseconds: of each image, a block a round.
    """

    runtime: str
    path: pathlib.Path
    count: int
    reference: "Row | None" = None
    known: bool = True
    probabilities: list = field(default_factory=list)
    milliseconds: list = field(default_factory=list)

    def cells(self, full: "Row", labels) -> list[str]:
        """What the table says of it, beside the full network."""
        import numpy as np

        answers, size = np.concatenate(self.probabilities), self.path.stat().st_size
        median, late = np.percentile(np.concatenate(self.milliseconds), (50, 95))
        accuracy = other = difference = faster = smaller = ""
        if self.known:
            accuracy = f"{np.mean(answers.argmax(axis=-1) == labels[: self.count]):.2%}"
            faster = f"{np.median(np.concatenate(full.milliseconds)) / median:.2f}"
            smaller = f"{full.path.stat().st_size / size:.1f}"
        if self.reference:
            expected = np.concatenate(self.reference.probabilities)[: self.count]
            other = f"{np.mean(answers.argmax(axis=-1) != expected.argmax(axis=-1)):.2%}"
            difference = f"{np.abs(answers - expected).max() * 256:.1f} / 256"
        sizes = [f"{size:,}", f"{self.count:,}"]
        times = [f"{median:.3f}", f"{late:.3f}"]
        return [self.runtime, self.path.name, *sizes, accuracy, other, difference, *times, faster, smaller]


def define_flags() -> None:
    cli.define_option_flags(DataOptions)
    flags.DEFINE_string("tflite", None, "The int8 file.", required=True)
    flags.DEFINE_string("android", None, "The same network's file for MediaPipe; without it MediaPipe is left out.")
    flags.DEFINE_multi_string("python", [], "RUNTIME=PATH: the Python to run it with; default: this one.")
    flags.DEFINE_integer("images", 1000, "Test images to classify.", lower_bound=ROUNDS)
    flags.DEFINE_integer("micro_images", 100, "The same in TFLite Micro, which is slow.", lower_bound=ROUNDS)
    flags.DEFINE_enum("backbone", "resnet18", list(BACKBONES), "The full network.")
    flags.DEFINE_integer("width", 64, "Channels of its stem.", lower_bound=1)


def pythons(given: list[str]) -> dict[str, str]:
    """The Python of each runtime that --python names.

    Raises:
        InputError: for what is no RUNTIME=PATH.
    """
    from odn_keras.deploy.runtimes import RUNTIMES

    found = dict(one.partition("=")[::2] for one in given)
    for runtime, path in found.items():
        if runtime not in RUNTIMES or not path:
            raise InputError(f"--python must be RUNTIME=PATH, one of {', '.join(RUNTIMES)}, got {runtime}={path}")
        if not pathlib.Path(path).is_file():
            raise InputError(f"--python={runtime}={path}: no such file")
    return found


def rows(values, count: int) -> list[Row]:
    """What is measured besides the full network."""
    tflite = pathlib.Path(values.tflite)
    micro = min(count, values.micro_images)
    litert = Row("litert", tflite, count)
    chosen = [
        litert,
        Row("litert_reference", tflite, micro, litert),
        Row("tflite_runtime", tflite, count, litert),
        Row("tflite_micro", tflite, micro, litert),
    ]
    if values.android:
        android = Row("litert", pathlib.Path(values.android), count, litert)
        chosen += [android, Row("mediapipe", android.path, count, android)]
    return chosen


def main() -> None:
    values = flags.FLAGS
    given = pythons(values.python)
    options = DataOptions(**cli.option_values(DataOptions))
    cli.import_keras()
    import numpy as np

    from benchmarks.runtime_process import RuntimeProcess
    from odn_keras import build, export_tflite, open_classifier
    from odn_keras.runs import run_data

    for path in filter(None, (values.tflite, values.android)):
        open_classifier(path)  # what is wrong with a file is said before minutes are spent
    dataset = run_data.load_by_options(options)
    labels = dataset.test[1][: values.images]
    missing = []
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as processes:
        images = pathlib.Path(temporary, "images.npy")
        np.save(images, dataset.test[0][: values.images])
        running: list[tuple[Row, RuntimeProcess]] = []

        def start(row: Row) -> None:
            process = RuntimeProcess(given.get(row.runtime, sys.executable), row.runtime, row.path, images)
            running.append((row, processes.enter_context(process)))

        for row in rows(values, len(labels)):
            try:
                start(row)
            except InputError as error:
                if row.runtime in given or row.runtime == "litert":
                    raise
                missing.append(f"not measured: {error}")
        cli.wake_backend()
        spec = NetworkSpec(values.backbone, dataset.input_shape, dataset.num_classes, values.width)
        full = Row(
            "litert", pathlib.Path(temporary, f"{values.backbone} at full depth, float32"), len(labels), known=False
        )
        export_tflite(build(spec, spec.max_depth), None, full.path, quantize="none")
        start(full)
        for turn in range(ROUNDS):
            for row, process in running:
                answers, milliseconds = process.timed(*(row.count * (turn + each) // ROUNDS for each in (0, 1)))
                row.probabilities.append(answers)
                row.milliseconds.append(milliseconds)
        print(f"{options.dataset}: the first {len(labels):,} test images\n")
        for cells in (HEADINGS, ["---"] * len(HEADINGS), *(row.cells(full, labels) for row, _ in running)):
            print(f"| {' | '.join(cells)} |")
    for line in missing:
        print(line)


if __name__ == "__main__":
    cli.run(main, define_flags)
