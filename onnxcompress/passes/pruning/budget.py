"""What a decision would cost: multiply-accumulates, parameters or channels, by how many columns each cell gives.

Every cost is a sum of products: a node's multiply-accumulates are its cost now times the kept fraction of each axis it
is proportional to, a constant's size likewise,

    cost(c) = fixed + sum over p of  whole_p * prod over the axes a of p of (1 - sum over cells i of g_a,i(c_i) / n_a)

with g_a,i(c) = the positions of axis a that go where cell i gives its c cheapest columns: a table made once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


class Piece(Protocol):
    """A part of the cost that depends on the kept fractions of some axes."""

    @property
    def axes(self) -> Sequence[Ids]:
        """The classes on each of those axes."""
        ...

    def at(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        """The cost at kept fractions, one array an axis, all of one shape."""
        ...


@dataclass(frozen=True, eq=False)
class Product:
    """Proportional to the length of every axis.

    Attributes:
        whole: The cost of removing nothing.
        axes: Classes by axis.
    """

    whole: float
    axes: Sequence[Ids]

    def at(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        """The whole cost times all fractions."""
        cost = np.asarray(self.whole)
        for fraction in kept:
            cost = cost * fraction
        return cost


class Pieces:
    """Costs as a sum over pieces.

    Args:
        cells: What is decided on.
        fixed: Costs that no decision changes.
        pieces: The others.
        size: Number of atoms.
    """

    def __init__(self, cells: Sequence[Cell], fixed: float, pieces: Sequence[Piece], size: int) -> None:
        tables = _Tables(cells, size)
        known = [(piece, [tables.axis(roots) for roots in piece.axes]) for piece in pieces]
        still = [piece.at([np.ones(())] * len(axes)) for piece, axes in known if not any(axes)]
        self._fixed = fixed + float(sum(still))
        self._pieces = [(piece, axes) for piece, axes in known if any(axes)]
        self._touched: list[list[int]] = [[] for _ in cells]
        for at, (_, axes) in enumerate(self._pieces):
            for i in sorted({i for axis in axes for i in axis}):
                self._touched[i].append(at)
        self.whole = self.cost(np.zeros(len(cells), np.int64))

    def cost(self, counts: Counts) -> float:
        """The whole cost."""
        kept = ((piece, [_kept(axis, counts) for axis in axes]) for piece, axes in self._pieces)
        return self._fixed + float(sum(piece.at(fractions) for piece, fractions in kept))

    def savings(self, index: int, counts: Counts, stops: np.ndarray) -> np.ndarray:
        """What is saved at each of `stops`."""
        saved = np.zeros(len(stops))
        for at in self._touched[index]:
            piece, axes = self._pieces[at]
            now = [_kept(axis, counts) for axis in axes]
            then = [
                here - (axis[index][stops] - axis[index][counts[index]]) if index in axis else here
                for axis, here in zip(axes, now, strict=True)
            ]
            saved += piece.at(now) - piece.at(then)
        return saved

    def neighbours(self, index: int) -> Sequence[int]:
        """Cells with a piece in common."""
        return sorted({i for at in self._touched[index] for axis in self._pieces[at][1] for i in axis} | {index})


def _kept(axis: Mapping[int, np.ndarray], counts: Counts) -> np.ndarray:
    return np.asarray(1.0 - sum(gone[counts[i]] for i, gone in axis.items()))


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


def mac_budget(found: Trace, cells: Sequence[Cell], macs: Mapping[str, int], total: int) -> Pieces:
    """Multiply-accumulates: `macs` by node label and their total."""
    products = [
        Product(share, [found.atoms.roots(ids) for ids in term.axes])
        for term in found.terms
        if (share := term.share * macs.get(label(term.node), 0)) > 0
    ]
    return Pieces(cells, total - sum(each.whole for each in products), products, len(found.atoms))


def parameter_budget(found: Trace, cells: Sequence[Cell], total: int) -> Pieces:
    """Parameters: each constant that counts as weights once."""
    products: list[Product] = []
    waiting = set(weights(found.model))
    for use in found.uses:
        if use.value in waiting:
            waiting.discard(use.value)
            size = float(np.prod(found.shape(use.value) or ()))
            products.append(Product(size, [found.atoms.roots(ids) for ids in use.lists()]))
    return Pieces(cells, total - sum(each.whole for each in products), products, len(found.atoms))


def channel_budget(cells: Sequence[Cell], size: int) -> Pieces:
    """Channels: every column of a cell costs as many as it stands for."""
    products = [Product(float(cell.order.shape[1] * cell.channels), [cell.order[0]]) for cell in cells]
    return Pieces(cells, 0.0, products, size)
