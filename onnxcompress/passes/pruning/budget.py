"""What a decision would cost: multiply-accumulates, parameters or channels, by how many columns each cell gives.

Every cost is a sum of products: a node's multiply-accumulates are its cost now times the kept fraction of each axis it
is proportional to, a constant's size likewise,

    cost(c) = fixed + sum over p of  whole_p * prod over the axes a of p of (1 - sum over cells i of g_a,i(c_i) / n_a)

with g_a,i(c) = the positions of axis a that go where cell i gives its c cheapest columns: a table made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from onnxcompress.cost import weights
from onnxcompress.graph import label
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.trace import Trace

Counts = np.ndarray
"""How many columns of each cell's order go, int64."""


class Budget(Protocol):
    """A cost that falls as cells give columns."""

    @property
    def whole(self) -> float:
        """The cost of removing nothing."""
        ...

    def cost(self, counts: Counts) -> float:
        """The cost where each cell gives its count."""
        ...

    def savings(self, index: int, counts: Counts, stops: np.ndarray) -> np.ndarray:
        """What is saved, against `counts`, where one cell gives each of `stops` instead and the rest stays."""
        ...

    def neighbours(self, index: int) -> Sequence[int]:
        """Cells whose savings depend on this cell's count, itself included."""
        ...


class Products:
    """Costs as a sum of products of kept fractions.

    Args:
        cells: What is decided on.
        fixed: Costs that no decision changes.
        products: For each product its whole cost and the classes on each of its axes.
        size: Number of atoms.
    """

    def __init__(
        self, cells: Sequence[Cell], fixed: float, products: Sequence[tuple[float, Sequence[Ids]]], size: int
    ) -> None:
        self._tables = _Tables(cells, size)
        self._fixed = fixed + sum(cost for cost, axes in products if not self._tables.touch(axes))
        touched = [(cost, axes) for cost, axes in products if self._tables.touch(axes)]
        self._products = [(cost, [self._tables.axis(roots) for roots in axes]) for cost, axes in touched]
        self._touched: list[list[int]] = [[] for _ in cells]
        for at, (_, axes) in enumerate(self._products):
            for i in sorted({i for axis in axes for i in axis}):
                self._touched[i].append(at)
        self.whole = self.cost(np.zeros(len(cells), np.int64))

    def cost(self, counts: Counts) -> float:
        """The whole cost."""
        total = self._fixed
        for cost, axes in self._products:
            for axis in axes:
                cost *= 1.0 - sum(gone[counts[i]] for i, gone in axis.items())
            total += cost
        return float(total)

    def savings(self, index: int, counts: Counts, stops: np.ndarray) -> np.ndarray:
        """What is saved at each of `stops`."""
        saved = np.zeros(len(stops))
        for at in self._touched[index]:
            cost, axes = self._products[at]
            before, after = cost, np.full(len(stops), cost)
            for axis in axes:
                others = 1.0 - sum(gone[counts[i]] for i, gone in axis.items() if i != index)
                mine = axis.get(index)
                before *= others - (0.0 if mine is None else mine[counts[index]])
                after *= others if mine is None else others - mine[stops]
            saved += before - after
        return saved

    def neighbours(self, index: int) -> Sequence[int]:
        """Cells with a product in common."""
        return sorted({i for at in self._touched[index] for axis in self._products[at][1] for i in axis} | {index})


class _Tables:
    """Fractions of an axis that go with each count of each cell."""

    def __init__(self, cells: Sequence[Cell], size: int) -> None:
        self._owner, self._column = np.full(size, -1), np.full(size, np.iinfo(np.int64).max)
        self._columns = [cell.order.shape[1] for cell in cells]
        for i, cell in enumerate(cells):
            self._owner[cell.order] = i
            # A class that stands in several columns goes with the first of them.
            columns = np.broadcast_to(np.arange(cell.order.shape[1]), cell.order.shape)
            np.minimum.at(self._column, cell.order.ravel(), columns.ravel())

    def touch(self, axes: Sequence[Ids]) -> bool:
        return any((self._owner[roots] >= 0).any() for roots in axes)

    def axis(self, roots: Ids) -> dict[int, np.ndarray]:
        owners = self._owner[roots]
        tables: dict[int, np.ndarray] = {}
        for i in np.unique(owners[owners >= 0]).tolist():
            gone = np.bincount(self._column[roots[owners == i]], minlength=self._columns[i])
            tables[i] = np.concatenate([[0], np.cumsum(gone)]) / len(roots)
        return tables


def removed(cells: Sequence[Cell], counts: Counts, size: int) -> np.ndarray:
    """One bool a class: True where it goes."""
    gone = np.zeros(size, bool)
    for cell, count in zip(cells, counts.tolist(), strict=True):
        gone[cell.order[:, :count]] = True
    return gone


def mac_budget(found: Trace, cells: Sequence[Cell], macs: Mapping[str, int], total: int) -> Products:
    """Multiply-accumulates: `macs` by node label and their total."""
    products = [
        (share, [found.atoms.roots(ids) for ids in term.axes])
        for term in found.terms
        if (share := term.share * macs.get(label(term.node), 0)) > 0
    ]
    return Products(cells, total - sum(share for share, _ in products), products, len(found.atoms))


def parameter_budget(found: Trace, cells: Sequence[Cell], total: int) -> Products:
    """Parameters: each constant that counts as weights once."""
    products: list[tuple[float, list[Ids]]] = []
    waiting = set(weights(found.model))
    for use in found.uses:
        if use.value in waiting:
            waiting.discard(use.value)
            size = float(np.prod(found.shape(use.value) or ()))
            products.append((size, [found.atoms.roots(ids) for ids in use.lists()]))
    return Products(cells, total - sum(size for size, _ in products), products, len(found.atoms))


def channel_budget(cells: Sequence[Cell], size: int) -> Products:
    """Channels: every column of a cell costs as many as it stands for."""
    products = [(float(cell.order.shape[1] * cell.channels), [cell.order[0]]) for cell in cells]
    return Products(cells, 0.0, products, size)
