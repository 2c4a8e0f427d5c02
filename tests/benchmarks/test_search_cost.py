"""What `benchmarks.search_cost` computes from trainings."""

import pytest

from benchmarks.direct import Direct, choose_targets
from benchmarks.jobs import Job, Jobs
from benchmarks.outcome import Outcome
from odn_keras import InputError, RunOptions

CYCLE = 12


class Trained:
    """Stands for `Jobs`: the error falls as a power of the length, from 0.3 at one epoch, and an epoch is 100 MACs."""

    def __init__(self):
        self.lengths = []

    def run(self, jobs):
        for job in jobs:
            epochs = job.arguments["epochs"]
            self.lengths.append(epochs)
            yield Outcome(job.arguments["depth"], epochs, 100 * epochs, 1.0, 1 - 0.3 * epochs**-0.5, 0.0)


@pytest.mark.parametrize("length", [5.5, 6, 10, 12, 15.5, 20])
def test_the_cost_of_an_accuracy_is_interpolated_between_trainings(length):
    jobs = Trained()
    macs, bound = Direct(jobs, range(3), CYCLE).macs_for(2, 1 - 0.3 * length**-0.5)
    assert bound == "" and macs == pytest.approx(100 * length, rel=1e-6)
    assert len(set(jobs.lengths)) <= 3  # only what is needed is trained


@pytest.mark.parametrize(("length", "bound", "macs"), [(2, "<", 500), (30, ">", 2100)])
def test_a_cost_outside_of_what_was_trained_is_reported_as_a_bound(length, bound, macs):
    assert Direct(Trained(), range(1), CYCLE).macs_for(2, 1 - 0.3 * length**-0.5) == (macs, bound)


def test_targets_lie_midway_where_neighbouring_depths_differ_most():
    assert choose_targets({1: 0.80, 2: 0.90, 3: 0.91, 4: 0.94, 5: 0.96}) == [0.85, 0.925, 0.95]
    assert choose_targets({1: 0.80, 2: 0.78, 3: 0.90}) == [0.85]  # what is no better than a shallower depth is no step


def test_jobs_are_done_once_ever_and_only_of_the_same_options(tmp_path, capfd):
    options = RunOptions(width=2)
    job = Job("every_depth", 0, {"epochs": 2})
    (outcome,) = Jobs(tmp_path / "jobs", options, 3, workers=1).run([job])
    assert len(outcome.log) == 3 and outcome.log == sorted(outcome.log)
    assert "1/1 every_depth" in capfd.readouterr().out
    assert Jobs(tmp_path / "jobs", options, 3, workers=1).run([job]) == [outcome]
    assert capfd.readouterr().out == ""
    with pytest.raises(InputError, match="other options"):
        Jobs(tmp_path / "jobs", RunOptions(width=4), 3, workers=1)
