"""The search for a device's network, on losses and latencies that are made up, against trying everything."""

import dataclasses
import itertools

import numpy as np
import pytest

from odn_keras import Budget, InputError, NetworkSpec, build
from odn_keras.devices.choices import Choice, Choices
from odn_keras.devices.device_search import Specialization, Specialized
from odn_keras.devices.latency_table import LatencyTable, parts
from odn_keras.networks.budget import SIZES
from odn_keras.networks.elastic import FRACTIONS

SPECS = {
    "basic": (NetworkSpec("resnet18", (8, 8, 1), 10, width=4, exits=(1, 2)), 3),
    "bottleneck": (NetworkSpec("resnet50", (8, 8, 1), 10, width=3, exits=(1,)), 2),
}


@pytest.fixture(scope="module", params=SPECS)
def large(request):
    spec, depth = SPECS[request.param]
    return build(spec, depth), spec, depth


def made_up(large, dataset, seed):
    """A search whose losses and latencies are random, and which measures what is predicted and a little noise."""
    network, spec, depth = large
    rng = np.random.default_rng(seed)
    networks = Choices(spec, FRACTIONS)
    names = [
        part for n in range(1, depth + 1) for one in networks.varied(n) for part in parts(networks.spec_of(one), n)
    ]
    latencies = {name: rng.integers(1, 40) / 10 for name in names}
    table = LatencyTable("a clock", "ours", None, 0.1, 1.1, latencies)
    search = Specialization(network, spec, dataset, widths=True, latencies=table)
    losses = rng.integers(0, 60, (len(search.depths), networks.layers(depth), len(FRACTIONS))) / 1000
    losses[..., -1] = 0
    losses = np.maximum.accumulate(losses[..., ::-1], axis=-1)[..., ::-1]
    search._losses = dict(zip(search.depths, np.sort(rng.uniform(0.7, 0.9, len(search.depths))), strict=True)), losses
    everything = [
        Choice(at, fractions)
        for at in search.depths
        for fractions in itertools.product(FRACTIONS, repeat=networks.layers(at))
    ]
    return search, everything, rng


def measuring(monkeypatch, search, noise):
    """Measures the predicted accuracy and some noise of the choice's own; returns what was measured."""
    measured = {}

    def measure(choice):
        own = np.random.default_rng(abs(hash(choice)) % 2**32).normal(0, noise) if noise else 0.0
        measured[choice] = Specialized(choice, None, None, search.sizes(choice), search.predicted(choice) + own)
        return measured[choice]

    monkeypatch.setattr(search, "measure", measure)
    return measured


def some_limits(search, everything, rng):
    """A network's own sizes as limits of it, one to four at a time: such a network fits, and others may by chance."""
    sizes = search.sizes(everything[rng.integers(len(everything))])
    chosen = rng.choice(sorted(SIZES), rng.integers(1, 5), replace=False)
    return Budget(**{str(name): sizes[SIZES[name]] for name in chosen})


def test_the_best_within_limits_is_that_of_trying_everything(large, digits, monkeypatch):
    for seed in range(50):
        search, everything, rng = made_up(large, digits, seed)
        measuring(monkeypatch, search, noise=0)
        limits = some_limits(search, everything, rng)
        fitting = [choice for choice in everything if limits.excess(search.sizes(choice)) == 0]
        found = search.best(limits)
        assert found.choice in fitting
        assert found.val_accuracy == pytest.approx(max(map(search.predicted, fitting)), abs=1e-12)
        name = next(name for name in SIZES if getattr(limits, name) is not None)
        least = min(search.sizes(choice)[SIZES[name]] for choice in everything)
        with pytest.raises(InputError, match="no network in this one keeps"):
            search.best(dataclasses.replace(limits, **{name: least * 0.999}))


def test_none_is_smaller_and_as_accurate_as_one_that_is_not_dominated(large, digits):
    for seed in range(10):
        search, everything, _ = made_up(large, digits, seed)
        flash = {choice: search.sizes(choice)["flash_bytes"] for choice in everything}
        expected, best = [], -np.inf
        for choice in sorted(everything, key=lambda one: (flash[one], -search.predicted(one))):
            if search.predicted(choice) > best + 1e-12:
                best = search.predicted(choice)
                expected.append((flash[choice], pytest.approx(best, abs=1e-12)))
        assert [(flash[choice], search.predicted(choice)) for choice in search.non_dominated] == expected


def test_what_the_frontier_shows_is_found_by_its_accuracy(large, digits, monkeypatch):
    for seed in range(20):
        search, everything, rng = made_up(large, digits, seed)
        measured = measuring(monkeypatch, search, noise=0.05)
        points = search.frontier()
        for point in points:
            found = search.smallest(point.val_accuracy, Budget())
            assert found.val_accuracy >= point.val_accuracy
            assert found.sizes["flash_bytes"] <= point.sizes["flash_bytes"]
        limits = some_limits(search, everything, rng)
        best = search.best(limits)
        for wanted in (*points, best):
            if limits.excess(wanted.sizes) == 0:
                found = search.smallest(wanted.val_accuracy, limits)
                assert limits.excess(found.sizes) == 0 and found.val_accuracy >= wanted.val_accuracy
                assert found.sizes["flash_bytes"] <= wanted.sizes["flash_bytes"]
        fitting = [one.val_accuracy for one in measured.values() if limits.excess(one.sizes) == 0]
        with pytest.raises(InputError, match="the nearest, of depth"):
            search.smallest(max(fitting) + 0.5, limits)


def test_of_equally_accurate_ones_the_widest_within_the_limits_is_taken(large, digits):
    search, everything, _ = made_up(large, digits, 0)
    whole, losses = search._losses
    search._losses = dict.fromkeys(whole, 0.9), np.zeros_like(losses)
    limits = Budget(max_flash=int(np.median([search.sizes(choice)["flash_bytes"] for choice in everything])))
    for choice in search._proposals(limits):
        widest = max(
            sum(one.fractions)
            for one in everything
            if one.depth == choice.depth and limits.excess(search.sizes(one)) == 0
        )
        assert sum(choice.fractions) == widest
