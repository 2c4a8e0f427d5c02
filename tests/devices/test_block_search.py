"""The exact search against trying everything."""

import itertools
import time

import numpy as np
import pytest

from odn_keras.devices.block_search import BEAMS, BlockSearch, Cost, Limit


def random_problem(seed):
    """Losses, and two sums, a sum and a peak that share a limit, of up to five blocks; coarse numbers make ties."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 5, rng.integers(1, 6))
    draw = lambda: [rng.integers(0, 12, count) / (10 if seed % 2 else 7) for count in counts]  # noqa: E731
    return draw(), [Cost(0.3, draw()), Cost(0.1, draw()), Cost(0.7, draw()), Cost(0.5, draw(), peak=True)], rng


def every_choice(losses, costs):
    """(choice, loss, cost of each kind) of all, added in the same order as the search does."""
    for choice in itertools.product(*(range(len(loss)) for loss in losses)):
        loss, totals = 0.0, [cost.start for cost in costs]
        for number, option in enumerate(choice):
            loss += losses[number][option]
            for kind, cost in enumerate(costs):
                more = cost.options[number][option]
                totals[kind] = max(totals[kind], more) if cost.peak else totals[kind] + more
        yield choice, loss, totals


LIMITS = [(0,), (1,), (0, 1), (0, 1, 2)]  # one, two and three at a time


@pytest.mark.parametrize("beams", [BEAMS, (2, None), (1, 3, None)])
@pytest.mark.parametrize("seed", range(40))
def test_the_best_is_that_of_trying_everything(seed, beams, monkeypatch):
    monkeypatch.setattr("odn_keras.devices.block_search.BEAMS", beams)
    losses, costs, rng = random_problem(seed)
    everything = list(every_choice(losses, costs))
    for kinds in LIMITS:
        some = everything[rng.integers(len(everything))][2]  # its own sizes, so that limits are kept up to the last bit
        limits = [Limit((0,), some[0]), Limit((1,), some[1] + 0.1), Limit((2, 3), some[2] + some[3])]

        def keeps(totals, kinds=kinds, limits=limits):
            return all(sum(totals[kind] for kind in limits[one].costs) <= limits[one].most for one in kinds)

        allowed = {choice: loss for choice, loss, totals in everything if keeps(totals)}
        found = BlockSearch(losses, costs, [limits[one] for one in kinds]).best(allowed.__contains__)
        assert (found is None) == (not allowed)
        if allowed:
            assert allowed[found] == min(allowed.values())


@pytest.mark.parametrize("seed", range(40))
def test_the_frontier_is_that_of_trying_everything(seed):
    losses, costs, _ = random_problem(seed)
    expected, best = [], np.inf
    everything = {choice: (totals[0], loss) for choice, loss, totals in every_choice(losses, costs)}
    for cost, loss in sorted(everything.values()):
        if loss < best:
            expected.append((cost, loss))
            best = loss
    assert [everything[choice] for choice in BlockSearch(losses, costs).frontier(0)] == expected


def test_of_equal_losses_the_ties_decide():
    losses, costs = [np.zeros(3), np.zeros(3)], [Cost(0, [np.arange(3), np.arange(3)])]
    narrower = [np.array([2.0, 1.0, 0.0])] * 2
    found = BlockSearch(losses, costs, [Limit((0,), 3)], narrower).best()
    assert sum(found) == 3


@pytest.mark.parametrize("limits", [1, 2, 3, 4])
def test_many_blocks_and_limits_take_seconds(limits):
    rng = np.random.default_rng(limits)
    steps = np.array(list(itertools.product(range(4), repeat=2)))
    losses = [np.sort(rng.exponential(0.02, (2, 4)))[:, ::-1][[0, 1], steps].sum(axis=1) for _ in range(16)]
    costs = [Cost(0, [(1 + steps[:, 0]) * (1 + steps[:, 1]) * rng.uniform(1, 9) for _ in range(16)]) for _ in range(3)]
    costs.append(Cost(0, [rng.uniform(0, 9, 16) for _ in range(16)]))
    least, most = ([sum(side(o) for o in cost.options) for cost in costs] for side in (np.min, np.max))
    for share in (0.3, 0.6):
        allowed = [Limit((k,), a + share * (b - a)) for k, (a, b) in enumerate(zip(least, most, strict=True))]
        began = time.process_time()
        assert BlockSearch(losses, costs, allowed[:limits]).best() is not None
        assert time.process_time() - began < 20
