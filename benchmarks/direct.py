"""Direct training at known depths: the yardstick of `benchmarks.search_cost`."""

import math
import statistics

from benchmarks.jobs import Job, Jobs
from benchmarks.outcome import Outcome

TARGETS = 3
RUNGS = (4 / 9, 2 / 3, 1, 4 / 3, 16 / 9)  # lengths of direct training, of the cycle's


class Direct:
    """Direct training from scratch, at any depth and length, each trained when asked for.

    Args:
        jobs: trains.
        seeds: repetitions.
        cycle: epochs of the usual length.
    """

    def __init__(self, jobs: Jobs, seeds: range, cycle: int):
        self._jobs, self._seeds, self.cycle = jobs, seeds, cycle

    def run(self, depths, epochs: int | None = None) -> dict[int, list[Outcome]]:
        """The outcomes, each seed's, at each of the depths."""
        depths = list(depths)
        arguments = [{"depth": depth, "epochs": epochs or self.cycle} for depth in depths]
        outcomes = iter(self._jobs.run(Job("direct", seed, each) for each in arguments for seed in self._seeds))
        return {depth: [next(outcomes) for _ in self._seeds] for depth in depths}

    def macs_for(self, depth: int, accuracy: float) -> tuple[float, str]:
        """Training MACs after which the depth has that accuracy, and "" or how that is bounded by what was trained.

        Between two lengths the error's logarithm is taken to be linear in the logarithm of the length.
        """
        rungs = [max(1, round(self.cycle * rung)) for rung in RUNGS]
        at = rungs.index(self.cycle)
        points: dict[int, tuple[float, float]] = {}  # by rung: error, MACs; the median over the seeds
        while 0 <= at < len(rungs) and at not in points:
            outcomes = self.run([depth], rungs[at])[depth]
            points[at] = 1 - median(outcomes, "val_accuracy"), outcomes[0].training_macs
            at += 1 if points[at][0] > 1 - accuracy else -1
        if at < 0:
            return points[0][1], "<"
        if at == len(rungs):
            return points[len(rungs) - 1][1], ">"
        shorter, longer = sorted((at, at - 1 if at - 1 in points and points[at][0] <= 1 - accuracy else at + 1))
        (error, macs), (least_error, most_macs) = points[shorter], points[longer]
        if least_error >= error:
            return most_macs, ""
        share = math.log(error / (1 - accuracy)) / math.log(error / least_error)
        return macs * (most_macs / macs) ** share, ""


def median(outcomes: list[Outcome], attribute: str) -> float:
    return statistics.median(getattr(outcome, attribute) for outcome in outcomes)


def choose_targets(accuracies: dict[int, float]) -> list[float]:
    """Midway between the accuracies of neighbouring depths, where they differ most."""
    best, steps = -math.inf, []
    for depth in sorted(accuracies):
        if accuracies[depth] > best > -math.inf:
            steps.append((accuracies[depth] - best, (accuracies[depth] + best) / 2))
        best = max(best, accuracies[depth])
    widest = sorted(steps, reverse=True)[:TARGETS]
    return sorted(round(target, 4) for _, target in widest)
