"""How good are forecasts on data that their constants were not fitted to?

    python -m benchmarks.forecast --trainings=runs/search_cost/emnist,runs/search_cost/cifar10,runs/search_cost/mnist

Reads the direct trainings that `benchmarks.search_cost` has left in these folders, and trains nothing. For each dataset
TREND and FALL of `odn_keras.growing.forecast` are fitted to the others by least squares; then the end of every training
on the dataset is forecast at several points of its cycle. Errors are in points of accuracy, forecast less true end:
the median, and the median of their sizes in brackets.
"""

import json
import math
import pathlib
import statistics
from dataclasses import dataclass

import numpy as np
from absl import flags

from odn_keras import cli
from odn_keras.errors import InputError
from odn_keras.files import write_json
from odn_keras.growing import forecast
from odn_keras.growing.schedules import WARMUP

RANGES = ((0.2, 0.35), (0.35, 0.5), (0.5, 0.7), (0.7, 0.9))  # of the progress at which forecasts are made
PLAIN_PACE = 0.75  # of the growth of the odds, whatever the accuracy: the simplest alternative


@dataclass(frozen=True)
class Moment:
    """A point of a cycle at which its end can be forecast.

    Attributes:
        dataset: trained on.
        progress: of the cycle.
        accuracy: at this point.
        trend: as `forecast.trend` has it.
        end: the accuracy that the cycle ended with.
    """

    dataset: str
    progress: float
    accuracy: float
    trend: float
    end: float

    @property
    def slope(self) -> float:
        """The trend of the odds' logarithm, not slackened."""
        return self.trend / math.sqrt(max(1 - self.accuracy, forecast.SMALLEST))

    @property
    def left(self) -> float:
        """What a constant rate is multiplied by."""
        return math.log(1 / self.progress)

    def error(self, rate: float) -> float:
        """Of the forecast that the odds' logarithm grows at this rate, in points of accuracy."""
        return 100 * (forecast.accuracy_at(forecast.logit(self.accuracy) + rate * self.left) - self.end)


def moments(folder: pathlib.Path) -> list[Moment]:
    """Those of all direct trainings that `benchmarks.search_cost` has left in a folder."""
    trainings = sorted(folder.glob("trainings/direct-*.json"))
    if not trainings:
        raise InputError(f"{folder} holds no direct trainings: give the folders that benchmarks.search_cost wrote")
    dataset = json.loads((folder / "trainings" / "settings.json").read_text())["dataset"]
    found = []
    for training in trainings:
        (stage,) = json.loads(training.read_text())["log"]
        checks = [(progress, accuracy) for progress, accuracy in stage["checks"] if progress > WARMUP]
        for number in range(1, len(checks)):
            progress, accuracy = checks[number - 1]
            trend = forecast.trend(checks[:number])
            if trend is not None and RANGES[0][0] <= progress < RANGES[-1][1]:
                found.append(Moment(dataset, progress, accuracy, trend, stage["val_accuracy"][-1]))
    return found


def fitted(some: list[Moment]) -> tuple[float, float]:
    """TREND and FALL by least squares of the rate at which the odds' logarithm grew, past its slow beginning."""
    some = [moment for moment in some if moment.accuracy >= 0.1]
    rates = [(forecast.logit(moment.end) - forecast.logit(moment.accuracy)) / moment.left for moment in some]
    (trend, fall), *_ = np.linalg.lstsq(np.array([(moment.trend, 1.0) for moment in some]), np.array(rates), rcond=None)
    return float(trend), float(fall)


def measure(folders: list[pathlib.Path]) -> list[dict]:
    """For each dataset the constants fitted without it, and the errors of three kinds of forecast on it."""
    every = [moment for folder in folders for moment in moments(folder)]
    datasets = list(dict.fromkeys(moment.dataset for moment in every))
    if len(datasets) < 2:
        raise InputError(f"to hold one dataset back takes two at least, got {', '.join(datasets)}")
    rows = []
    for dataset in datasets:
        trend, fall = fitted([moment for moment in every if moment.dataset != dataset])
        held_back = [moment for moment in every if moment.dataset == dataset]
        kinds = {
            "fitted on the others": [moment.error(trend * moment.trend + fall) for moment in held_back],
            "as the package has it": [
                moment.error(forecast.TREND * moment.trend + forecast.FALL) for moment in held_back
            ],
            f"a plain pace of {PLAIN_PACE}": [moment.error(PLAIN_PACE * moment.slope) for moment in held_back],
        }
        errors = {name: _by_range(held_back, of_all) for name, of_all in kinds.items()}
        rows.append({"held_back": dataset, "trend": trend, "fall": fall, "moments": len(held_back), "errors": errors})
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
    lines = [f"{'held back':<16}{'TREND':>7}{'FALL':>7}  {'forecast at progress':<24}{heads}"]
    for row in rows:
        head = f"{row['held_back']:<16}{row['trend']:>7.2f}{row['fall']:>7.2f}  "
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
