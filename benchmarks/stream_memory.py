"""How much memory does a dataset take that does not fit? Streams random images of 224x224x3 and prints the RSS.

    python -m benchmarks.stream_memory --gigabytes=20

An `.npz` of that size is written, loaded with `load_dataset(in_memory=False)`, and iterated in training batches
(without training); a smaller one then goes the same way in memory. On disk this takes twice the size; nothing is left.
Runs on Linux.

Printed: throughput, and the process's resident memory in MB, above what it was before the load: at the end of each
step, and the highest until then.
"""

import json
import math
import pathlib
import tempfile
import time
import zipfile

import numpy as np
import psutil
from absl import flags

from odn_keras import cli
from odn_keras.quiet import quiet

flags.DEFINE_float("gigabytes", 20, "Size of the dataset on disk, in 10^9 bytes.")
flags.DEFINE_float("in_memory_gigabytes", 1, "Size of the dataset in memory, for comparison; 0: none.")
flags.DEFINE_integer("batch_size", 128, "Images of a batch.")
flags.DEFINE_integer("epochs", 1, "Iterations over all images.")
flags.DEFINE_string("folder", None, "Where the data goes; default: the system's folder for temporary files.")
flags.DEFINE_string("out", "runs/stream_memory.json", "Where the figures go.")

SHAPE = (224, 224, 3)
CLASSES = 10
TEST_IMAGES = 100
READINGS = 10  # of an epoch


def write_npz(path: pathlib.Path, images: int) -> None:
    """Writes random images chunk by chunk."""
    with zipfile.ZipFile(path, "w") as archive:
        for seed, (split, count) in enumerate((("train", images), ("test", TEST_IMAGES))):
            chunk = np.random.default_rng(seed).integers(0, 256, (100, *SHAPE), np.uint8)
            with archive.open(f"y_{split}.npy", "w") as file:
                np.lib.format.write_array(file, np.arange(count) % CLASSES)
            with archive.open(f"x_{split}.npy", "w", force_zip64=True) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, count, len(chunk)):
                    file.write((chunk[: count - start] + np.uint8(start // len(chunk) % 256)).data)


def measure(gigabytes: float, in_memory: bool) -> list[dict[str, float | str]]:
    """Loads and iterates a dataset of that size; a row for each step."""
    from odn_keras import load_dataset
    from odn_keras.data.batches import Batches

    values = flags.FLAGS
    print(f"{gigabytes:g} GB {'in memory' if in_memory else 'on disk'}, batches of {values.batch_size}", flush=True)
    print(f"{'':<14}{'images/s':>10}{'MB/s':>8}{'RSS, MB':>10}{'peak, MB':>10}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=values.folder) as folder:
        path = pathlib.Path(folder, "images.npz")
        write_npz(path, math.ceil(gigabytes * 1e9 / math.prod(SHAPE)))
        before, began = psutil.Process().memory_info().rss, time.perf_counter()

        def row(step: str, images: int) -> None:
            nonlocal began
            rate = images / (time.perf_counter() - began)
            status = pathlib.Path("/proc/self/status").read_text()  # getrusage's peak may be the parent's
            peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
            rows.append(
                {
                    "step": step,
                    "images_per_second": rate,
                    "rss_mb": (psutil.Process().memory_info().rss - before) / 1e6,
                    "peak_mb": (peak - before) / 1e6,
                }
            )
            print(
                f"{step:<14}{rate:>10.0f}{rate * math.prod(SHAPE) / 1e6:>8.0f}{rows[-1]['rss_mb']:>10.0f}"
                f"{rows[-1]['peak_mb']:>10.0f}",
                flush=True,
            )
            began = time.perf_counter()

        dataset = load_dataset(str(path), in_memory=in_memory, spool_dir=folder)
        row("load", sum(len(labels) for _, labels in (dataset.train, dataset.validation, dataset.test)))
        batches = Batches(dataset.train, dataset.num_classes, values.batch_size)
        for epoch in range(values.epochs):
            read = 0
            for index in range(len(batches)):
                read += len(batches[index][0])
                if (index + 1) * READINGS // len(batches) > index * READINGS // len(batches):
                    row(f"epoch {epoch + 1} {(index + 1) / len(batches):>4.0%}", read)
                    read = 0
            batches.on_epoch_end()
    return rows


def main() -> None:
    values = flags.FLAGS
    with quiet():  # whichever backend: nothing is trained
        import keras  # noqa: F401
    figures = {"flags": values.flag_values_dict(), "on_disk": measure(values.gigabytes, in_memory=False)}
    if values.in_memory_gigabytes:
        figures["in_memory"] = measure(values.in_memory_gigabytes, in_memory=True)
    out = pathlib.Path(values.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2, default=str))


if __name__ == "__main__":
    cli.run(main)
