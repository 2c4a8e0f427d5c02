"""Few photos: how much more accurate is a network that starts from one of other classes?

    python -m benchmarks.start_from --dataset=cifar10 --out=runs/start_from

Every second class of the dataset is what a start is trained on, with all its images; the others are the photos, 50,
100 and 200 training images a class. On these a network of the same depth is trained from nothing and from the start,
with the same recipe: at the same learning rate and at a third of it, and with the head alone first (as a run does it)
and not. Test accuracies are of float networks on all test images of the photos' classes, medians over the seeds.
What is trained is kept in --out, so that a benchmark that is cut off resumes where it was.
"""

import json
import pathlib
import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import replacing, write_json

VALIDATION_IMAGES = 50  # a class, for all trainings on the photos


@dataclass(frozen=True)
class Arm:
    """One way of training on the photos.

    Attributes:
        starts: whether from the start or from nothing.
        head_first: whether the head is trained alone first.
        rate: what the learning rate is multiplied by.
    """

    starts: bool
    head_first: bool = False
    rate: float = 1.0

    @property
    def name(self) -> str:
        """For tables and files."""
        parts = ["start" if self.starts else "nothing"]
        parts += ["head first"] if self.head_first else []
        parts += [f"rate x {self.rate:g}"] if self.rate != 1 else []
        return ", ".join(parts)


FROM_NOTHING, AS_A_RUN = Arm(False), Arm(True, head_first=True)
ARMS = (
    FROM_NOTHING,
    AS_A_RUN,
    Arm(True),
    Arm(False, rate=0.3),
    Arm(True, head_first=True, rate=0.3),
    Arm(True, rate=0.3),
)


def photos(dataset: Any, per_class: int | None, which: int) -> Any:
    """The dataset with every second class only, from class `which` on, and so many training images of each."""
    classes = list(range(which, dataset.num_classes, 2))

    def only(split, most):
        images, labels = split
        chosen = [np.flatnonzero(labels == one)[:most] for one in classes]
        numbers = np.concatenate([np.full(len(some), number) for number, some in enumerate(chosen)])
        return images[np.concatenate(chosen)], numbers.astype(labels.dtype)

    return replace(
        dataset,
        class_names=tuple(dataset.class_names[one] for one in classes),
        train=only(dataset.train, per_class),
        validation=only(dataset.validation, VALIDATION_IMAGES),
        test=only(dataset.test, None),
        fingerprint=None,
    )


def trained(options: Any, dataset: Any, arm: Arm, start: Any = None) -> Any:
    """The network of a training at the depth of the options."""
    import keras

    from odn_keras.growing.depth_growth import DepthGrowth
    from odn_keras.growing.precision import precision
    from odn_keras.networks.start import Start
    from odn_keras.runs.training_setup import network_spec, new_model, training_batches, validation_batches

    keras.utils.set_random_seed(options.seed)
    begun = Start(start, network_spec(options, dataset)) if arm.starts else None
    model = new_model(options, dataset, precision(options.precision), depth=options.depth, start=begun)
    if not arm.head_first:
        model.carried = None
    growth = DepthGrowth(None, max_depth=options.depth, cycle_epochs=options.epochs, verbose=0)
    model.fit(
        training_batches(options, dataset),
        validation_data=validation_batches(dataset),
        epochs=options.epochs,
        callbacks=[growth],
        verbose=0,
    )
    return model.network


class Benchmark:
    """Trains each training once ever.

    Args:
        folder: where outcomes are kept.
        dataset: of which every second class is one task.
        options: of the trainings on the photos.
        start_epochs: of the training of the start.
        start_images: training images a class of the start; `None` for all.

    Raises:
        InputError: where the folder holds outcomes of other options.
    """

    def __init__(self, folder: pathlib.Path, dataset: Any, options: Any, start_epochs: int, start_images: int | None):
        self.folder, self.dataset, self.options = folder, dataset, options
        self.start_epochs, self.start_images = start_epochs, start_images
        settings = {**asdict(options), "start_epochs": start_epochs, "start_images": start_images}
        self._once("settings", lambda: settings)
        if self._read("settings") != settings:
            raise InputError(f"{folder} holds trainings of other options: give another --out")

    def start(self) -> Any:
        """The network that the others start from."""
        from odn_keras.networks import builder

        path = self.folder / "start.keras"
        if not path.exists():
            data = photos(self.dataset, self.start_images, 0)
            network = trained(replace(self.options, epochs=self.start_epochs, batch_size=128), data, FROM_NOTHING)
            with replacing(path) as temporary:
                builder.with_dtype(network, "float32").save(temporary)
            print(f"the start: test accuracy {_accuracy(network, data):.4f}", flush=True)
        return builder.load(path)

    def accuracy(self, per_class: int, arm: Arm, seed: int) -> float:
        """Test accuracy of a training."""
        name = f"{per_class}-{arm.name.replace(', ', '-').replace(' ', '_')}-seed={seed}"

        def measure() -> dict[str, float]:
            began = time.monotonic()
            data = photos(self.dataset, per_class, 1)
            options = replace(self.options, seed=seed, learning_rate=self.options.learning_rate * arm.rate)
            found = _accuracy(trained(options, data, arm, self.start()), data)
            print(f"{name}: {found:.4f}, {time.monotonic() - began:.0f} s", flush=True)
            return {"test_accuracy": found}

        return self._once(name, measure)["test_accuracy"]

    def _once(self, name: str, make: Any) -> Any:
        if not (self.folder / f"{name}.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(make(), self.folder / f"{name}.json")
        return self._read(name)

    def _read(self, name: str) -> Any:
        return json.loads((self.folder / f"{name}.json").read_text())


def _accuracy(network: Any, dataset: Any) -> float:
    from odn_keras.devices.accuracy import accuracies

    return accuracies(network, dataset.test, dataset.num_classes)[0]


def table(medians: dict[int, dict[str, float]]) -> str:
    """Medians by images a class and arm, and what each gains over the one from nothing, in points."""
    arms = list(next(iter(medians.values())))
    lines = [f"{'images a class':<32}" + "".join(f"{size:>16}" for size in medians)]
    for arm in arms:
        cells = []
        for row in medians.values():
            gain = 100 * (row[arm] - row[FROM_NOTHING.name])
            cells.append(f"{row[arm]:.2%}" + (f" ({gain:+.1f})" if arm != FROM_NOTHING.name else ""))
        lines.append(f"{arm:<32}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    values = flags.FLAGS
    cli.import_keras()
    from odn_keras import load_dataset
    from odn_keras.runs.options import RunOptions

    dataset = load_dataset(values.dataset, data_dir=values.data_dir, in_memory=True)
    options = RunOptions(
        dataset=values.dataset,
        width=values.width,
        depth=values.depth,
        epochs=values.epochs,
        batch_size=32,
        augment="light",
    )
    benchmark = Benchmark(pathlib.Path(values.out), dataset, options, values.start_epochs, values.start_images)
    arms = ARMS if values.all_arms else (FROM_NOTHING, AS_A_RUN)
    medians = {
        int(size): {
            arm.name: statistics.median(benchmark.accuracy(int(size), arm, seed) for seed in range(values.seeds))
            for arm in arms
        }
        for size in values.sizes
    }
    print(table(medians))
    write_json(medians, pathlib.Path(values.out) / "medians.json")


def define_flags() -> None:
    cli.define_path("dataset", "cifar10", "The dataset, of which every second class is for the start.")
    cli.define_path("data_dir", None, "Where TensorFlow Datasets keeps its data.")
    cli.define_path("out", "runs/start_from", "Where outcomes are kept.")
    flags.DEFINE_list("sizes", ["50", "100", "200"], "Training images a class.")
    flags.DEFINE_integer("seeds", 3, "Trainings of each kind.", lower_bound=1)
    flags.DEFINE_integer("width", 16, "Channels of the stem.", lower_bound=1)
    flags.DEFINE_integer("depth", 3, "Blocks.", lower_bound=1)
    flags.DEFINE_integer("epochs", 30, "Of the trainings on the photos.", lower_bound=1)
    flags.DEFINE_integer("start_epochs", 15, "Of the training of the start.", lower_bound=1)
    flags.DEFINE_integer("start_images", None, "Training images a class of the start; default: all.", lower_bound=1)
    flags.DEFINE_boolean("all_arms", False, "Also without the head first, and at a third of the learning rate.")


if __name__ == "__main__":
    cli.run(main, define_flags)
