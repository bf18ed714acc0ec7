"""Who gives how much: one rate for all cells, or a greedy walk by importance lost per cost saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.errors import UsageError
from onnxcompress.passes.pruning.budget import Budget
from onnxcompress.passes.pruning.cells import Cell

FLOOR = 0.1
"""Fraction of a cell that a global walk leaves (PruningBench's protection against collapsed layers)."""

MISS = 0.02
"""Fraction of the whole cost by which alignment may miss a goal; beyond it, alignment gives way."""

Counts = np.ndarray
"""How many columns of each cell's order go."""


@dataclass(frozen=True)
class Limits:
    """What bounds the counts.

    Attributes:
        align: Kept channels are rounded to a multiple of this.
        strict: Round also narrow cells, because the user asked for it.
        least: Fewest channels that a cell keeps.
    """

    align: int = 1
    strict: bool = False
    least: int = 1

    def count(self, cell: Cell, wanted: float) -> int:
        """The whole number of columns nearest to `wanted` that these limits allow.

        Without `strict`, alignment is left out where a cell is narrower than four steps: it would defeat the request.
        """
        rows = cell.order.shape[0]
        kept = cell.width - wanted
        step = max(1, self.align // rows)
        if step > 1 and (self.strict or cell.width >= 4 * step):
            # To the nearest multiple, never by flooring: half a step either way is the least harm.
            kept = max(step, step * round(kept / step))
        most = min(cell.order.shape[1], cell.width - max(1, -(-self.least // rows)))
        return int(np.clip(cell.width - round(kept), 0, max(0, most)))


def uniform(cells: Sequence[Cell], rates: Sequence[float], limits: Limits) -> Counts:
    """Each cell gives its rate."""
    return np.array([limits.count(c, rate * c.width) for c, rate in zip(cells, rates, strict=True)], dtype=np.int64)


def uniform_to(cells: Sequence[Cell], budget: Budget, goal: float, limits: Limits) -> Counts:
    """One rate for all cells, the least that reaches `goal`, then single channels given back while it holds."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        reached = budget.cost(uniform(cells, [middle] * len(cells), limits)) <= goal
        low, high = (low, middle) if reached else (middle, high)
    counts = uniform(cells, [high] * len(cells), limits)
    if limits.align > 1 and not limits.strict and budget.cost(counts) < goal - MISS * budget.whole:
        return uniform_to(cells, budget, goal, replace(limits, align=1))
    return _refill(cells, budget, goal, limits, counts)


def greedy(
    cells: Sequence[Cell], done: Callable[[Counts, float], bool], budget: Budget | None, limits: Limits
) -> Counts:
    """Remove the step that loses the least importance per cost saved, or per channel without a budget, until `done`.

    Args:
        cells: What is decided on.
        done: Told the counts so far and what they cost (0 without a budget).
        budget: What is saved by a step.
        limits: What bounds the counts.
    """
    limits = limits if limits.strict else replace(limits, align=1)
    walk = _Walk(cells, budget, limits)
    while walk.open() and not done(walk.counts, walk.cost):
        walk.step()
    return walk.counts


class _Walk:
    """Counts so far, their cost, what is gone, and the price of the next step of every cell."""

    def __init__(self, cells: Sequence[Cell], budget: Budget | None, limits: Limits) -> None:
        self._cells, self._budget = cells, budget
        self.counts = np.zeros(len(cells), np.int64)
        self.cost = 0.0 if budget is None else budget.cost(self.counts)
        self._tops = [limits.count(c, (1 - FLOOR) * c.width) for c in cells]
        self._steps = [max(1, limits.align // c.order.shape[0], c.width // 32) for c in cells]
        self._stops = [0] * len(cells)
        self._gone = np.zeros(0, bool) if budget is None else budget.removed(self.counts)
        self._prices = np.array([self._price(i) for i in range(len(cells))])

    def open(self) -> bool:
        return bool(np.isfinite(self._prices).any())

    def step(self) -> None:
        best = int(np.argmin(self._prices))
        self.counts[best] = self._next(best)
        if self._budget is not None:
            self.cost -= self._budget.saving(best, self._gone, int(self.counts[best]))
            self._gone[self._cells[best].order[:, : self.counts[best]]] = True
        for i in [best] if self._budget is None else self._budget.neighbours(best):
            self._prices[i] = self._price(i)

    def _next(self, i: int) -> int:
        return self._stops[i]

    def _price(self, i: int) -> float:
        start, step, best = int(self.counts[i]), self._steps[i], np.inf
        while start < self._tops[i]:
            stop = min(start + step, self._tops[i]) if step else start
            price = self._price_to(i, int(self.counts[i]), stop)
            if price < best:
                best, self._stops[i] = price, stop
            if stop >= self._tops[i]:
                break
            step *= 2
        return best

    def _price_to(self, i: int, start: int, stop: int) -> float:
        cell = self._cells[i]
        rows = cell.order.shape[0]
        saved = (stop - start) * rows if self._budget is None else self._budget.saving(i, self._gone, stop)
        return float(cell.importance[start:stop].sum()) / saved if saved > 0 else np.inf


def greedy_to(cells: Sequence[Cell], budget: Budget, goal: float, limits: Limits) -> Counts:
    """The greedy walk down to a cost."""
    counts = greedy(cells, lambda _, cost: cost <= goal, budget, limits)
    return _refill(cells, budget, goal, limits, counts)


def _refill(cells: Sequence[Cell], budget: Budget, goal: float, limits: Limits, counts: Counts) -> Counts:
    """Give back the most important removed channels for which there is room under the goal."""
    if limits.align > 1 and limits.strict:
        return counts
    counts, gone = counts.copy(), budget.removed(counts)
    spare = goal - budget.cost(counts)
    value, price = np.zeros(len(cells)), np.full(len(cells), np.inf)
    changed = list(range(len(cells)))
    for _ in range(4 * len(cells)):
        for i in changed:
            price[i] = budget.regained(i, gone, int(counts[i])) if counts[i] else np.inf
            value[i] = cells[i].importance[counts[i] - 1] / cells[i].order.shape[0] if counts[i] else 0.0
        fits = (price > 0) & (price <= spare)
        if not fits.any():
            return counts
        # Of equals the last one.
        best = len(cells) - 1 - int(np.argmax(np.where(fits, value, -np.inf)[::-1]))
        spare -= price[best]
        counts[best] -= 1
        gone[cells[best].order[:, counts[best]]] = False
        changed = budget.neighbours(best)
    return counts


def goal_of(text: str, whole: float, option: str) -> float:
    """``0.5x`` of the original, or an absolute number with k, M or G.

    Raises:
        UsageError: Where the text is neither, or no reduction.
    """
    units: Mapping[str, float] = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "x": whole}
    hint = f"Write {option} as 0.5x (of the original) or as an absolute figure such as 2M."
    try:
        unit = units.get(text[-1:], None)
        goal = float(text) if unit is None else float(text[:-1]) * unit
    except ValueError as fault:
        raise UsageError(f"cannot read {option} {text!r}", hint=hint, code="USAGE-TARGET") from fault
    if not goal > 0:
        raise UsageError(f"{option} {text} leaves nothing", hint=hint, code="USAGE-TARGET")
    if text[-1:] == "x" and goal > whole:
        raise UsageError(f"{option} {text} is no reduction", hint=hint, code="USAGE-TARGET")
    return goal
