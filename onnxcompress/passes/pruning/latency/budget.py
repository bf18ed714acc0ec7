"""Seconds as a function of how many channels each cell gives.

A layer's time is a table over the kept fractions of its axes, measured at a few points and interpolated linearly
between them; what the whole model takes beyond its layers is spread over the tensors that the other nodes make, in
proportion to their elements. Only ratios matter: the search times the whole model and corrects what the sum misses.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.budget import Piece, Pieces, Product, removed
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.latency.layers import layer_at
from onnxcompress.passes.pruning.latency.measure import Stopwatch
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import Trace

POINTS = (0.0, 0.25, 0.5, 0.75)
"""Fractions of what an axis can give at which a layer is measured."""

MOST_AXES = 2
"""Axes of which a table is measured; a layer of more is taken as proportional to all of them."""


@dataclass(frozen=True, eq=False)
class Table:
    """Measured seconds of one layer over the kept fractions of one or two axes.

    Attributes:
        axes: Classes by axis.
        points: Kept fractions by axis, ascending.
        seconds: Seconds on that grid.
    """

    axes: Sequence[Ids]
    points: Sequence[np.ndarray]
    seconds: np.ndarray

    def at(self, kept: Sequence[np.ndarray]) -> np.ndarray:
        """Multilinear interpolation; constant beyond the ends."""
        shape = np.broadcast_shapes(*(np.shape(fraction) for fraction in kept))
        result = np.zeros(shape)
        places = [_place(points, np.broadcast_to(f, shape)) for points, f in zip(self.points, kept, strict=True)]
        for corner in itertools.product((0, 1), repeat=len(places)):
            weight, index = np.ones(shape), []
            for side, (below, part) in zip(corner, places, strict=True):
                weight = weight * (part if side else 1.0 - part)
                index.append(below + side)
            result = result + weight * self.seconds[tuple(index)]
        return result


def _place(points: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the point below each position (with one above it), and the fraction of the way to the next."""
    below = np.clip(np.searchsorted(points, at, "right") - 1, 0, len(points) - 2)
    span = points[below + 1] - points[below]
    return below, np.clip((at - points[below]) / span, 0.0, 1.0)


class LatencyBudget:
    """Measures layers on demand and puts budgets together; layers of equal shape are measured once.

    Args:
        found: The trace.
        watch: What measures.
        whole: Seconds that the whole model takes at the probe's sizes.
    """

    def __init__(self, found: Trace, watch: Stopwatch, whole: float) -> None:
        self._found, self._watch, self._whole = found, watch, whole

    def of(self, cells: Sequence[Cell], limits: Sequence[np.ndarray]) -> Pieces:
        """The budget of `cells`, measured at stops near `POINTS`.

        Args:
            cells: What is decided on.
            limits: For each cell, the counts that it may take, ascending.
        """
        grid = _Grid(self._found, cells, limits)
        pieces: list[Piece] = [piece for node in grid.nodes() if (piece := self._piece(grid, node)) is not None]
        known = sum(float(piece.at([np.ones(())] * len(piece.axes))) for piece in pieces)
        rest = max(self._whole - known, 0.0)
        return Pieces(cells, 0.0, [*pieces, *self._others(rest)], len(self._found.atoms))

    def _piece(self, grid: _Grid, node: ir.Node) -> Piece | None:
        """The layer's table, or a product where it depends on too many axes; None where it cannot run by itself."""
        dims = grid.dims(node)
        layer = layer_at(grid.cut({}), node)
        if layer is None:
            return None
        points = [grid.points(dim) for dim in dims]
        if not dims or len(dims) > MOST_AXES or min(map(len, points)) < 2:
            return Product(self._watch.of(layer), [dim.roots for dim in dims])
        seconds: list[float] = []
        for chosen in itertools.product(*points):
            smaller = layer_at(grid.cut({i: c for point in chosen for i, c in point.counts.items()}), node)
            seconds.append(self._watch.of(layer if smaller is None else smaller))
        table = np.array(seconds).reshape([len(each) for each in points])
        return Table([dim.roots for dim in dims], [np.array([p.kept for p in each]) for each in points], table)

    def _others(self, seconds: float) -> list[Product]:
        """The time beyond the layers, by the elements that the other nodes write."""
        found = self._found
        linear = {term.node for term in found.terms}
        sizes: list[tuple[float, list[Ids]]] = []
        for node in found.model.graph:
            labels = found.labels.get(node.outputs[0], []) if node.outputs and node not in linear else []
            axes = [found.atoms.roots(ids) for ids in labels if ids is not None]
            size = float(np.prod(found.shape(node.outputs[0]) or (0,))) if axes else 0.0
            if size:
                sizes.append((size, axes))
        total = sum(size for size, _ in sizes) or 1.0
        return [Product(seconds * size / total, axes) for size, axes in sizes]


@dataclass(frozen=True, eq=False)
class _Dim:
    """Axes of one layer that the same cells cut."""

    roots: Ids
    cells: tuple[int, ...]


@dataclass(frozen=True)
class _Point:
    """What is kept of an axis where its cells give these columns."""

    kept: float
    counts: Mapping[int, int]


class _Grid:
    """Where the layers of one model are measured."""

    def __init__(self, found: Trace, cells: Sequence[Cell], limits: Sequence[np.ndarray]) -> None:
        self._found, self._cells, self._limits = found, cells, limits
        self._owner = np.full(len(found.atoms), -1)
        for i, cell in enumerate(cells):
            self._owner[cell.order] = i
        self._terms: dict[ir.Node, list[Ids]] = {}
        for term in found.terms:
            self._terms.setdefault(term.node, []).extend(term.axes)

    def nodes(self) -> list[ir.Node]:
        """Every node with multiply-accumulates, once."""
        return list(self._terms)

    def dims(self, node: ir.Node) -> list[_Dim]:
        """What the node's time depends on."""
        by_cells: dict[tuple[int, ...], Ids] = {}
        for ids in self._terms[node]:
            roots = self._found.atoms.roots(ids)
            owners = tuple(i for i in np.unique(self._owner[roots]).tolist() if i >= 0)
            if owners:
                by_cells.setdefault(owners, roots)
        return [_Dim(roots, owners) for owners, roots in by_cells.items()]

    def points(self, dim: _Dim) -> list[_Point]:
        """Where the layer is measured along `dim`, by the fraction kept, ascending, each fraction once."""
        found: dict[float, _Point] = {}
        for share in POINTS:
            counts = {i: self._near(i, share) for i in dim.cells}
            kept = float(self.cut(counts).keep(dim.roots).mean())
            found.setdefault(kept, _Point(kept, counts))
        return [found[kept] for kept in sorted(found)]

    def _near(self, cell: int, share: float) -> int:
        """The stop nearest to a share of the cell, so that what stays is a multiple that the target likes."""
        stops = self._limits[cell]
        return int(stops[np.argmin(np.abs(stops - share * self._cells[cell].width))])

    def cut(self, counts: Mapping[int, int]) -> Cut:
        """The cut at these counts; cells that are not named give nothing."""
        every = np.array([counts.get(i, 0) for i in range(len(self._cells))], np.int64)
        return Cut(self._found, removed(self._cells, every, len(self._found.atoms)))
