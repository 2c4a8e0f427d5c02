"""The ways to find a depth that `benchmarks.search_cost` compares, each on a few digits."""

import pytest

from benchmarks import protocols
from odn_keras import RunOptions, load_dataset


@pytest.fixture(scope="module")
def task():
    dataset = load_dataset("digits", train_images=256)
    return protocols.Task(dataset, RunOptions(width=4, batch_size=64), max_depth=2)


def test_growing_and_direct_training_cost_what_their_steps_cost(task):
    direct = protocols.direct(task, 0, depth=2, epochs=2)
    assert (direct.depth, direct.epochs, direct.training_macs) == (2, 2, 2 * task.macs_per_epoch(2))
    grown = protocols.grow(task, 0, target=1.0, epochs=5, cycle_epochs=2)
    assert {stage["depth"] for stage in grown.log} == {1, 2} and grown.epochs == 5
    assert 5 * task.macs_per_epoch(1) < grown.training_macs < 5 * task.macs_per_epoch(2)


@pytest.mark.slow
def test_every_exit_of_a_grown_network_has_its_accuracy(task):
    found = protocols.with_exits(task, 0, epochs=5, cycle_epochs=2, alpha=0.5, exit_weight=1.0)
    assert len(found.log) == found.depth and found.log[-1] == pytest.approx(found.val_accuracy)
    assert all(0 <= accuracy <= 1 for accuracy in found.log)


def test_the_papers_protocol_restarts_each_depth_and_waits_out_its_patience(task, monkeypatch):
    monkeypatch.setattr(protocols, "PAPER_PATIENCE", 2)
    monkeypatch.setattr(protocols, "PAPER_WARMUP_EPOCHS", 2)
    found = protocols.paper(task, 0, target=1.0)
    assert [depth["depth"] for depth in found.log] == [1, 2]
    trained = [found.log[0]["epochs"] - protocols.PAPER_WARMUP_EPOCHS, found.log[1]["epochs"] - found.log[0]["epochs"]]
    assert min(trained) >= 2
    shared = protocols.PAPER_WARMUP_EPOCHS * task.macs_per_epoch(2)
    assert found.training_macs == shared + sum(n * task.macs_per_epoch(d) for d, n in enumerate(trained, 1))
    assert protocols.paper(task, 0, target=0.01).depth == 1


@pytest.mark.slow
def test_hyperband_counts_all_its_trials(task):
    pytest.importorskip("keras_tuner")
    found = protocols.hyperband(task, 0, max_epochs=3)
    assert found.depth in (1, 2)
    least, most = (found.epochs * task.macs_per_epoch(depth) for depth in (1, 2))
    assert found.epochs >= 2 and least <= found.training_macs <= most
