"""What a decision would cost: multiply-accumulates or parameters as a function of how many channels each cell gives.

A node's cost is its cost now times the kept fraction of each axis it is proportional to; recurrent nodes are sums of
two such products. The same form counts parameters: one product a constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxcompress.graph import label
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.trace import Trace


@dataclass(eq=False)
class Budget:
    """Costs as a sum of products of kept fractions.

    Attributes:
        cells: What is decided on.
        fixed: Costs that no decision changes.
        products: For each product its whole cost and the classes on each of its axes.
    """

    cells: Sequence[Cell]
    fixed: float
    products: list[tuple[float, tuple[np.ndarray, ...]]]
    size: int
    _touched: list[list[int]] = field(init=False)
    _cells_of: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        owner = np.full(self.size, -1)
        for i, cell in enumerate(self.cells):
            owner[cell.order.ravel()] = i
        self._touched = [[] for _ in self.cells]
        self._cells_of = []
        for at, (_, axes) in enumerate(self.products):
            self._cells_of.append(sorted({i for roots in axes for i in np.unique(owner[roots]).tolist()} - {-1}))
            for i in self._cells_of[at]:
                self._touched[i].append(at)

    @property
    def whole(self) -> float:
        """The cost of removing nothing."""
        return self.fixed + sum(whole for whole, _ in self.products)

    def removed(self, counts: np.ndarray) -> np.ndarray:
        """One bool a class: True where it goes."""
        gone = np.zeros(self.size, bool)
        for cell, count in zip(self.cells, counts.tolist(), strict=True):
            gone[cell.order[:, :count]] = True
        return gone

    def cost(self, counts: np.ndarray) -> float:
        """The whole cost."""
        return self.fixed + self._sum(range(len(self.products)), self.removed(counts))

    def saving(self, index: int, gone: np.ndarray, count: int) -> float:
        """What is saved when one cell gives `count` columns and all else stays as `gone` says."""
        return self._difference(index, gone, self.cells[index].order[:, :count], now=True)

    def regained(self, index: int, gone: np.ndarray, count: int) -> float:
        """What it costs when one cell gives `count` columns fewer one, and all else stays as `gone` says."""
        return -self._difference(index, gone, self.cells[index].order[:, count - 1], now=False)

    def _difference(self, index: int, gone: np.ndarray, classes: np.ndarray, *, now: bool) -> float:
        """Cost before less cost after `gone` becomes `now` at `classes`; `gone` is as it was afterwards."""
        before, old = self._sum(self._touched[index], gone), gone[classes]
        gone[classes] = now
        after = self._sum(self._touched[index], gone)
        gone[classes] = old
        return before - after

    def neighbours(self, index: int) -> list[int]:
        """Cells whose savings depend on this cell's count, itself included."""
        return sorted({index, *(i for at in self._touched[index] for i in self._cells_of[at])})

    def _sum(self, which: Sequence[int] | range, gone: np.ndarray) -> float:
        total = 0.0
        for at in which:
            whole, axes = self.products[at]
            for roots in axes:
                whole *= 1.0 - float(np.count_nonzero(gone[roots])) / len(roots)
            total += whole
        return total


def mac_budget(found: Trace, cells: Sequence[Cell], macs: Mapping[str, int], total: int) -> Budget:
    """Multiply-accumulates: `macs` by node label and their total."""
    roots = found.atoms.roots
    products = [
        (share, tuple(roots(ids) for ids in term.axes))
        for term in found.terms
        if (share := term.share * macs.get(label(term.node), 0)) > 0
    ]
    return Budget(cells, total - sum(share for share, _ in products), products, len(found.atoms))


def parameter_budget(found: Trace, cells: Sequence[Cell], total: int) -> Budget:
    """Parameters: each constant once."""
    products: list[tuple[float, tuple[np.ndarray, ...]]] = []
    seen: set[int] = set()
    for use in found.uses:
        size = float(np.prod(found.shape(use.value) or ()))
        if id(use.value) not in seen and size > 1:
            seen.add(id(use.value))
            products.append((size, tuple(found.atoms.roots(ids) for ids in use.lists())))
    return Budget(cells, total - sum(size for size, _ in products), products, len(found.atoms))
