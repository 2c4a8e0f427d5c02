"""How good are forecasts on data that their constants were not fitted to?

    python -m benchmarks.forecast --trainings=runs/search_cost/emnist,runs/search_cost/cifar10,runs/search_cost/mnist

Reads the direct trainings that `benchmarks.search_cost` has left in these folders, and trains nothing. For each dataset
PACE, WANING and NOISE of `odn_keras.growing.forecast` are fitted to the others; then the end of every training on the
dataset is forecast at several points of its cycle. Errors are in points of accuracy, forecast less true end: the
median, and the median of their sizes in brackets. Other numbers of images count as another dataset.
"""

import json
import math
import pathlib
import statistics
from collections import Counter
from dataclasses import dataclass

import numpy as np
from absl import flags
from scipy.optimize import minimize

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.growing import forecast
from odn_keras.growing.stage import WARMUP

RANGES = ((0.2, 0.35), (0.35, 0.5), (0.5, 0.7), (0.7, 0.9))  # of the progress at which forecasts are made
SMALL_RISE = 0.2  # of the odds' logarithm: errors of smaller ones count as if they were this much larger
PLAIN_PACE = 0.75  # of the growth of the odds, whatever the accuracy: the simplest alternative

Numbers = tuple[float, float, float]  # PACE, WANING, NOISE
PACKAGE: Numbers = (forecast.PACE, forecast.WANING, forecast.NOISE)


@dataclass(frozen=True)
class Moment:
    """A point of a cycle at which its end can be forecast.

    Attributes:
        dataset: trained on.
        progress: of the cycle.
        accuracy: at this point.
        slope: of the odds' logarithm, as `forecast.slope` has it.
        end: the accuracy that the cycle ended with.
    """

    dataset: str
    progress: float
    accuracy: float
    slope: float
    end: float

    @property
    def rise(self) -> float:
        """Of the odds' logarithm, from here to the end."""
        return forecast.logit(self.end) - forecast.logit(self.accuracy)

    @property
    def plain_rise(self) -> float:
        """The rise were it PLAIN_PACE times as steep as so far, whatever the accuracy."""
        return PLAIN_PACE * self.slope * math.log(1 / self.progress)

    def expected_rise(self, numbers: Numbers) -> float:
        """The rise that is forecast with these numbers."""
        pace, waning, noise = numbers
        return forecast.expected_rise(self.slope, self.accuracy, self.progress, pace=pace, waning=waning, noise=noise)

    def error(self, rise: float) -> float:
        """Of the forecast of a rise, in points of accuracy."""
        return 100 * (forecast.accuracy_at(forecast.logit(self.accuracy) + rise) - self.end)


def moments(folder: pathlib.Path) -> list[Moment]:
    """Those of all direct trainings that `benchmarks.search_cost` has left in a folder."""
    trainings = sorted(folder.glob("trainings/direct-*.json"))
    if not trainings:
        raise InputError(f"{folder} holds no direct trainings: give the folders that benchmarks.search_cost wrote")
    settings = json.loads((folder / "trainings" / "settings.json").read_text())
    images = settings.get("train_images")
    dataset = settings["dataset"] + (f", {images:,}" if images else "")
    found = []
    for training in trainings:
        (stage,) = json.loads(training.read_text())["log"]
        checks = [(progress, accuracy) for progress, accuracy in stage["checks"] if progress > WARMUP]
        for number in range(1, len(checks)):
            progress, accuracy = checks[number - 1]
            slope = forecast.slope(checks[:number])
            if slope is not None and RANGES[0][0] <= progress < RANGES[-1][1]:
                found.append(Moment(dataset, progress, accuracy, slope, stage["checks"][-1][1]))
    return found


def fitted(some: list[Moment]) -> Numbers:
    """The numbers that bring the least relative errors of the rise, every dataset weighing the same."""
    counts = Counter(moment.dataset for moment in some)

    def loss(numbers: np.ndarray) -> float:
        total = 0.0
        for moment in some:
            expected = moment.expected_rise(tuple(numbers))
            total += abs(moment.rise - expected) / (SMALL_RISE + abs(expected)) / counts[moment.dataset]
        return total

    pace, waning, noise = minimize(loss, PACKAGE, method="Nelder-Mead").x
    return float(pace), float(waning), float(noise)


def measure(folders: list[pathlib.Path]) -> list[dict]:
    """For each dataset the numbers fitted without it, and the errors of three kinds of forecast on it."""
    every = [moment for folder in folders for moment in moments(folder)]
    datasets = list(dict.fromkeys(moment.dataset for moment in every))
    if len(datasets) < 2:
        raise InputError(f"to hold one dataset back takes two at least, got {', '.join(datasets)}")
    rows = []
    for dataset in datasets:
        numbers = fitted([moment for moment in every if moment.dataset != dataset])
        held_back = [moment for moment in every if moment.dataset == dataset]
        kinds = {
            "fitted on the others": [moment.error(moment.expected_rise(numbers)) for moment in held_back],
            "as the package has it": [moment.error(moment.expected_rise(PACKAGE)) for moment in held_back],
            f"a plain pace of {PLAIN_PACE}": [moment.error(moment.plain_rise) for moment in held_back],
        }
        errors = {name: _by_range(held_back, of_all) for name, of_all in kinds.items()}
        rows.append({"held_back": dataset, "numbers": numbers, "moments": len(held_back), "errors": errors})
    return rows


def _by_range(some: list[Moment], errors: list[float]) -> list[tuple[float, float] | None]:
    """Median and median size of the errors in each range of progress."""
    found: list[tuple[float, float] | None] = []
    for least, most in RANGES:
        inside = [error for moment, error in zip(some, errors, strict=True) if least <= moment.progress < most]
        found.append((statistics.median(inside), statistics.median(map(abs, inside))) if inside else None)
    return found


def table(rows: list[dict]) -> str:
    """The rows as text."""
    heads = "".join(f"{f'{least:g} to {most:g}':>16}" for least, most in RANGES)
    lines = [f"{'held back':<24}{'PACE':>6}{'WANING':>8}{'NOISE':>8}  {'forecast at progress':<24}{heads}"]
    for row in rows:
        pace, waning, noise = row["numbers"]
        head = f"{row['held_back']:<24}{pace:>6.2f}{waning:>8.2f}{noise:>8.4f}  "
        for name, errors in row["errors"].items():
            cells = "".join(f"{'-' if each is None else f'{each[0]:+.2f} ({each[1]:.2f})':>16}" for each in errors)
            lines.append(f"{head}{name:<24}{cells}")
            head = " " * len(head)
    return "\n".join(lines)


def main() -> None:
    values = flags.FLAGS
    rows = measure([pathlib.Path(folder) for folder in values.trainings])
    print(table(rows))
    if values.out:
        write_json(rows, pathlib.Path(values.out))


def define_flags() -> None:
    flags.DEFINE_list("trainings", None, "The folders that benchmarks.search_cost wrote.", required=True)
    flags.DEFINE_string("out", None, "Where to write the figures as JSON, if anywhere.")


if __name__ == "__main__":
    cli.run(main, define_flags)
