"""Who gives how much: one rate for all cells, or a walk by importance lost per cost saved.

Both move between stops (`steps`). The walk takes, of all cells and all stops ahead of each, the one with the least

    price = (importance between here and there) / (cost saved between here and there)

that is, it follows the lower convex hull of every cell's curve: a stretch that is dear at first does not hide a cheap
end beyond it. Rounding to the target's multiples is the same walk, started at the stops above an exact solution, so
that the importance curve decides which layer is rounded down and which up, not the remainder of a division.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcompress.passes.pruning.budget import Budget, Counts
from onnxcompress.passes.pruning.cells import Cell

FLOOR = 0.1
"""Fraction of a cell that a global walk leaves (PruningBench's protection against collapsed layers)."""

MISS = 0.02
"""Fraction of the whole cost by which rounding may overshoot a goal; beyond it, the multiples are halved."""

Stops = Sequence[np.ndarray]
"""For each cell, the counts that it may take, ascending, 0 first."""

_MOST_STEPS = 32
"""A walk crosses a cell in about so many steps; single stops are given back afterwards."""


def exact(cells: Sequence[Cell], rates: Sequence[float], limits: Stops) -> Counts:
    """The count nearest to each cell's rate, up to its last stop, whatever the stops between."""
    wanted = [cell.width - round(cell.width * (1.0 - rate)) for cell, rate in zip(cells, rates, strict=True)]
    return np.array([min(count, int(end[-1])) for count, end in zip(wanted, limits, strict=True)], np.int64)


def uniform(cells: Sequence[Cell], budget: Budget, rates: Sequence[float], limits: Stops) -> Counts:
    """Each cell gives its rate, rounded down or up to a stop so that the whole cost comes to what the rates say."""
    plain = exact(cells, rates, limits)
    goal = budget.cost(plain)
    ends = [end[: 1 + int(np.searchsorted(end, count))] for end, count in zip(limits, plain.tolist(), strict=True)]
    walk = Walk(cells, budget, ends, _above(plain, limits))
    while walk.open():
        if abs(walk.cost - walk.saving() - goal) <= abs(walk.cost - goal):
            walk.step()
        else:
            walk.skip()
    return walk.counts


def uniform_to(cells: Sequence[Cell], budget: Budget, goal: float, limits: Stops) -> Counts:
    """One rate for all cells, the least that reaches `goal`, rounded to stops, then stops given back while it holds."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        reached = budget.cost(exact(cells, [middle] * len(cells), limits)) <= goal
        low, high = (low, middle) if reached else (middle, high)
    return walk_to(cells, budget, goal, limits, _above(exact(cells, [high] * len(cells), limits), limits))


def walk_to(cells: Sequence[Cell], budget: Budget, goal: float, limits: Stops, start: Counts | None = None) -> Counts:
    """The walk from `start` (nothing removed) down to `goal` or to its end, then stops given back while it holds."""
    strides = [_thinned(cell, end) for cell, end in zip(cells, limits, strict=True)]
    walk = Walk(cells, budget, strides, np.zeros(len(cells), np.int64) if start is None else start)
    while walk.open() and walk.cost > goal:
        walk.step()
    back = Return(cells, budget, limits, walk.counts)
    while back.step(goal):
        pass
    return back.counts


def _above(counts: Counts, limits: Stops) -> Counts:
    """The last stop of each cell that removes no more."""
    return np.array([end[np.searchsorted(end, n, "right") - 1] for end, n in zip(limits, counts.tolist(), strict=True)])


def _thinned(cell: Cell, limits: np.ndarray) -> np.ndarray:
    stride = max(1, cell.width // _MOST_STEPS)
    chosen = limits[np.searchsorted(limits, np.arange(0, limits[-1], stride))]
    return np.union1d(chosen, limits[-1:])


class Walk:
    """Counts so far, what they cost, and the price and place of the best next step of every cell.

    Args:
        cells: Whose columns go.
        budget: What is saved.
        limits: Where each cell may stop.
        start: Counts to begin with; not edited.
    """

    def __init__(self, cells: Sequence[Cell], budget: Budget, limits: Stops, start: Counts) -> None:
        self._cells, self._budget, self._limits = cells, budget, limits
        self._lost = [np.concatenate([[0.0], np.cumsum(cell.importance)]) for cell in cells]
        self.counts = start.copy()
        self.cost = budget.cost(start)
        self._prices, self._next = np.full(len(cells), np.inf), np.zeros(len(cells), np.int64)
        for i in range(len(cells)):
            self._reprice(i)

    def open(self) -> bool:
        """Whether a step is left."""
        return bool(np.isfinite(self._prices).any())

    def saving(self) -> float:
        """What the cheapest step saves."""
        best = int(np.argmin(self._prices))
        return float(self._budget.savings(best, self.counts, self._next[best : best + 1])[0])

    def skip(self) -> None:
        """Leave the cheapest step out, until something that it depends on changes."""
        self._prices[int(np.argmin(self._prices))] = np.inf

    def step(self) -> None:
        """Take the cheapest step."""
        best = int(np.argmin(self._prices))
        self.cost -= self.saving()
        self.counts[best] = self._next[best]
        for i in self._budget.neighbours(best):
            self._reprice(i)

    def _reprice(self, i: int) -> None:
        here, ahead = int(self.counts[i]), self._limits[i]
        ahead = ahead[np.searchsorted(ahead, here, "right") :]
        self._prices[i] = np.inf
        if not len(ahead):
            return
        saved = self._budget.savings(i, self.counts, ahead)
        lost = self._lost[i][ahead] - self._lost[i][here]
        prices = np.where(saved > 0, lost / np.where(saved > 0, saved, 1.0), np.inf)
        best = int(np.argmin(prices))
        self._prices[i], self._next[i] = prices[best], ahead[best]


class Return:
    """The way back: the stop that costs the least per importance regained, while the goal still holds.

    Args:
        cells: Whose columns come back.
        budget: What it costs.
        limits: Where each cell may stop.
        start: Counts to begin with; not edited.
    """

    def __init__(self, cells: Sequence[Cell], budget: Budget, limits: Stops, start: Counts) -> None:
        self._cells, self._budget, self._limits, self.counts = cells, budget, limits, start.copy()
        self._worth, self._extra = np.zeros(len(cells)), np.full(len(cells), np.inf)
        self._cost = budget.cost(start)
        for i in range(len(cells)):
            self._reprice(i)

    def step(self, goal: float) -> bool:
        """Give one stop back; False where none fits under `goal`."""
        fits = self._extra <= goal - self._cost
        if not fits.any():
            return False
        best = int(np.argmax(np.where(fits, self._worth, -np.inf)))
        self._cost += float(self._extra[best])
        self.counts[best] = self._before(best)
        for i in self._budget.neighbours(best):
            self._reprice(i)
        return True

    def _before(self, i: int) -> int:
        stops = self._limits[i]
        return int(stops[max(0, int(np.searchsorted(stops, self.counts[i])) - 1)])

    def _reprice(self, i: int) -> None:
        here, back = int(self.counts[i]), self._before(i)
        self._extra[i] = np.inf
        if back < here:
            extra = -float(self._budget.savings(i, self.counts, np.array([back]))[0])
            self._extra[i] = extra if extra > 0 else np.inf
            self._worth[i] = float(self._cells[i].importance[back:here].sum()) / max(extra, 1e-300)
