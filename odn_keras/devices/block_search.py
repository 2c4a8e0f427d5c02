"""Exact search: one option for each block, such that the sum of losses is least and the costs keep their limits.

A dynamic programme goes from block to block and keeps the partial choices that none other beats in every respect. Costs
are added in floating point in one fixed order, which keeps "no more than" as it was: a choice that is dropped could
not have ended below the one that beats it, not even by a rounding. NumPy and SciPy only.

Where several limits leave too many partial choices, a first pass keeps the most promising ones; what it finds is the
mark that the others' Lagrangian bounds (multipliers of the linear relaxation) must beat in a second pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

BEAMS = (300, 10_000, None)  # partial choices that a pass keeps; the last one keeps all
ROUNDING = 1e-9  # relative; what is this close to a limit is left to the caller's own check
CHUNK = 512
Choice = tuple[int, ...]  # the option of each block, by number


@dataclass(frozen=True)
class Cost:
    """One kind of cost.

    Attributes:
        start: of everything but the blocks.
        options: for each block what each of its options adds, shape (options,).
        peak: whether the largest counts instead of the sum.
    """

    start: float
    options: Sequence[np.ndarray]
    peak: bool = False


@dataclass(frozen=True)
class Limit:
    """A limit on the sum of some costs, given by their positions."""

    costs: tuple[int, ...]
    most: float


class BlockSearch:
    """The search through all combinations of the blocks' options.

    Args:
        losses: for each block the loss of each of its options, shape (options,).
        costs: with the same blocks and options.
        limits: on them.
        ties: as the losses; of choices of equal loss the one of the least sum is best. Default: all the same.
    """

    def __init__(
        self,
        losses: Sequence[np.ndarray],
        costs: Sequence[Cost],
        limits: Sequence[Limit] = (),
        ties: Sequence[np.ndarray] | None = None,
    ):
        ties = ties or [np.zeros_like(loss) for loss in losses]
        rows = zip(losses, ties, *(cost.options for cost in costs), strict=True)
        self._options = [np.stack(columns, axis=1).astype(float) for columns in rows]
        self._start = np.array([0.0, 0.0, *(cost.start for cost in costs)])
        self._peaks = np.array([False, False, *(cost.peak for cost in costs)])
        self._limits = [(np.array(limit.costs) + 2, limit.most) for limit in limits]
        self._least, self._most = (self._rest(side) for side in (np.min, np.max))
        self._multipliers = np.zeros(len(self._limits))
        self._bounds = self._rest_bounds()

    def best(self, accept: Callable[[Choice], bool] = lambda choice: True) -> Choice | None:
        """The choice of the least loss within the limits; `None` where there is none.

        Args:
            accept: a check of its own that a choice must pass; asked from the best on.
        """
        mark, found = np.inf, None
        for beam in BEAMS:
            values, chosen, dropped = self._pass(beam, mark, objectives=())
            for row in np.lexsort((values[:, 1], values[:, 0])):
                if accept(choice := tuple(chosen[row].tolist())):
                    mark, found = values[row, 0], choice
                    break
            if not dropped:
                break
        return found

    def frontier(self, cost: int) -> list[Choice]:
        """All choices within the limits than which none has both less loss and less of a cost, the cheapest first.

        Of choices that are equal in both one is kept.
        """
        values, chosen, _ = self._pass(None, np.inf, objectives=(cost + 2,))
        kept = _non_dominated(values[:, [0, cost + 2]], 1)
        return [tuple(chosen[row].tolist()) for row in kept[np.argsort(values[kept, cost + 2], kind="stable")]]

    def _pass(self, beam: int | None, mark: float, objectives: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, bool]:
        """Goes from the first block to the last.

        Returns:
            Values and options of the remaining choices, and True where promising ones were dropped.
        """
        values, chosen, dropped = self._start[None], np.zeros((1, 0), np.uint8), False
        for number, options in enumerate(self._options):
            values = self._joined(values[:, None], options[None]).reshape(-1, len(self._start))
            rows = np.flatnonzero(self._may_keep_limits(values, number))
            if np.isfinite(mark):
                rows = rows[self._bound(values[rows], number) <= mark + ROUNDING]
            rows = rows[_non_dominated(*self._compared(values[rows], number, objectives))]
            if beam and len(rows) > beam:
                self._tighten()
                likely = np.lexsort((values[rows, 1], self._bound(values[rows], number)))
                rows, dropped = rows[np.sort(likely[:beam])], True
            before, option = np.divmod(rows, len(options))
            values, chosen = values[rows], np.column_stack([chosen[before], option.astype(np.uint8)])
        return values, chosen, dropped

    def _joined(self, values: np.ndarray, more: np.ndarray) -> np.ndarray:
        return np.where(self._peaks, np.maximum(values, more), values + more)

    def _rest(self, side: Callable) -> list[np.ndarray]:
        """For each block what the blocks after it come to, each at its least or its most, by columns."""
        rest = [np.where(self._peaks, -np.inf, 0.0)]
        for options in reversed(self._options[1:]):
            rest.append(self._joined(rest[-1], side(options, axis=0)))
        return rest[::-1]

    def _room(self, costs: np.ndarray, most: float) -> float:
        """The largest rounding error of sums of these costs."""
        size = sum(np.abs(options[:, costs]).max() for options in self._options)
        return ROUNDING * (abs(most) + np.abs(self._start[costs]).max() + size)

    def _may_keep_limits(self, values: np.ndarray, number: int) -> np.ndarray:
        possible = np.ones(len(values), bool)
        for costs, most in self._limits:
            least = self._joined(values, self._least[number])[:, costs].sum(axis=1)
            possible &= least <= most + self._room(costs, most)
        return possible

    def _compared(self, values: np.ndarray, number: int, objectives: tuple[int, ...]) -> tuple[np.ndarray, int]:
        """The columns to compare choices by: costs whose limit cannot be broken any more count as zero."""
        columns = [values[:, [0, 1]], values[:, list(objectives)]]
        for costs, most in self._limits:
            largest = self._joined(values, self._most[number])[:, costs].sum(axis=1)
            free = largest <= most - self._room(costs, most)
            if not free.all():
                columns.append(np.where(free[:, None], -np.inf, values[:, costs]))
        return np.concatenate(columns, axis=1), 2

    # The bound.

    def _additive(self, costs: np.ndarray, most: float) -> tuple[np.ndarray, float]:
        """A limit's costs that add up, and what the peaks among them leave at their least."""
        peaks = costs[self._peaks[costs]]
        least = self._joined(self._joined(self._start, self._options[0].min(axis=0)), self._least[0])
        return costs[~self._peaks[costs]], most - least[peaks].sum()

    def _tighten(self) -> None:
        """Sets the multipliers to the duals of the linear relaxation, in which blocks take mixtures of options."""
        if self._multipliers.any() or not self._limits:
            return
        counts = [len(options) for options in self._options]
        stacked = np.concatenate(self._options)
        of_block = np.repeat(np.eye(len(counts)), counts, axis=1)
        sums, rooms = [], []
        for costs, most in self._limits:
            added, room = self._additive(costs, most)
            room -= self._start[added].sum()
            scale = max(abs(room), np.abs(stacked[:, added]).max(), 1e-300)
            sums.append(stacked[:, added].sum(axis=1) / scale)
            rooms.append((room / scale, scale))
        solved = linprog(
            stacked[:, 0], np.array(sums), [room for room, _ in rooms], of_block, np.ones(len(counts)), method="highs"
        )
        if solved.status == 0:  # any multipliers give a bound that holds; these give a good one
            duals = np.maximum(-solved.ineqlin.marginals, 0)
            self._multipliers = duals / [scale for _, scale in rooms]
            self._bounds = self._rest_bounds()

    def _rest_bounds(self) -> list[float]:
        """For each block the least that loss and costs, at their multipliers, come to in the blocks after it."""
        rest = [0.0]
        for options in reversed(self._options[1:]):
            rest.append(rest[-1] + self._priced(options).min())
        return rest[::-1]

    def _priced(self, values: np.ndarray) -> np.ndarray:
        priced = values[:, 0].copy()
        for multiplier, (costs, most) in zip(self._multipliers, self._limits, strict=True):
            priced += multiplier * values[:, self._additive(costs, most)[0]].sum(axis=1)
        return priced

    def _bound(self, values: np.ndarray, number: int) -> np.ndarray:
        """A lower bound on the loss of every completion within the limits."""
        rooms = [self._additive(costs, most)[1] for costs, most in self._limits]
        return self._priced(values) + self._bounds[number] - float(np.dot(self._multipliers, rooms))


def _non_dominated(values: np.ndarray, first: int) -> np.ndarray:
    """The rows that no other beats: none is before it in the order of the first columns and no more in all others.

    Of equal rows one is kept.
    """
    order = np.lexsort(values.T[::-1])
    others = values[order][:, first:]
    others = others[:, [bool(np.any(column != column[:1])) for column in others.T]]
    if not len(order) or not others.shape[1]:
        return order[:1]
    if others.shape[1] == 1:
        least = np.minimum.accumulate(others[:, 0])
        return order[np.concatenate([[True], others[1:, 0] < least[:-1]])]
    front, kept = np.empty((0, others.shape[1])), []
    for begin in range(0, len(order), CHUNK):
        chunk = others[begin : begin + CHUNK]
        rows = np.flatnonzero(~_beaten(chunk, front).any(axis=1))
        rows = rows[~np.tril(_beaten(chunk[rows], chunk[rows]), -1).any(axis=1)]
        front = np.concatenate([front, chunk[rows]])
        kept.append(order[begin + rows])
    return np.concatenate(kept)


def _beaten(rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """True where a row is at least as large as the other in every column: shape (rows, others)."""
    beaten = np.ones((len(rows), len(by)), bool)
    for row, other in zip(rows.T, by.T, strict=True):
        beaten &= other[None, :] <= row[:, None]
    return beaten
