"""From statistics to cells: the order in which channels go, and the error that each of them adds.

Every reader of a cell is eliminated side by side; a channel's cost is the sum over the readers of the error it adds
there, each relative to the variance of the tensor that the reader feeds. A class that no reader sees (its readers have
no closed form) costs its share of the power of the weights that make it, nothing compensated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.errors import UsageError
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.obs.greedy import Elimination, eliminate
from onnxcompress.passes.pruning.obs.readers import Reader, by_root, readers_of
from onnxcompress.passes.pruning.obs.statistics import Moments, measure
from onnxcompress.passes.pruning.trace import Trace

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.prune_channels import PruneChannels


def curved(found: Trace, cells: Sequence[Cell], ctx: Context, *, choose: bool) -> list[Cell]:
    """Cells with the error curve of their order as importance.

    Args:
        found: The trace.
        cells: What is decided on, ordered by any score.
        ctx: Data, seed, memory.
        choose: True to order channels by reconstruction error; False to keep the order and only measure it.
    """
    readers = list(readers_of(found))
    seen = by_root(readers, len(found.atoms))
    result = list(cells)
    for batch in _batches(cells, readers, seen, ctx.memory_bytes):
        wanted = sorted({at for _, ats in batch for at in ats})
        moments = dict(measure(found.model, [(at, readers[at]) for at in wanted], ctx)) if wanted else {}
        for index, ats in batch:
            result[index] = _curve(cells[index], [(readers[at], moments[at]) for at in ats if at in moments], choose)
    return result


def _batches(
    cells: Sequence[Cell], readers: Sequence[Reader], seen: list[list[int]], memory: int
) -> Iterator[list[tuple[int, list[int]]]]:
    """Cells with their readers, as many at a time as their Gram matrices may fill a third of the memory."""
    batch: list[tuple[int, list[int]]] = []
    held: set[int] = set()
    for index, cell in enumerate(cells):
        ats = sorted({at for root in cell.order.ravel().tolist() for at in seen[root]})
        if batch and sum(readers[at].bytes for at in held | set(ats)) > memory // 3:
            yield batch
            batch, held = [], set()
        batch.append((index, ats))
        held |= set(ats)
    yield batch


def _curve(cell: Cell, read: Sequence[tuple[Reader, Moments]], choose: bool) -> Cell:
    read = [(reader, moments) for reader, moments in read if moments.rows]
    states = [state for reader, moments in read for state in _states(cell, reader, moments)]
    if not states:
        power = np.square(cell.importance)
        return replace(cell, importance=power / max(float(power.sum()), 1e-30))
    units = np.arange(cell.order.size).reshape(cell.order.shape)
    order, added = eliminate(states, units, choose=choose)
    return replace(cell, order=cell.order.ravel()[order], importance=added)


def _states(cell: Cell, reader: Reader, moments: Moments) -> Iterator[Elimination]:
    """The reader's groups that see the cell, with errors in units of the variance fed."""
    roots = cell.order.ravel()
    factor = 1.0 / np.sqrt(moments.variance())
    hessian = moments.hessian()
    for group in range(len(reader.roots)):
        columns = _columns(roots, reader.roots[group])
        if columns.size:
            yield Elimination(hessian[group], reader.weight[group] * factor, columns)


def _columns(roots: np.ndarray, of_columns: np.ndarray) -> np.ndarray:
    """Columns of each class [classes, most], -1 as filling."""
    order = np.argsort(of_columns, kind="stable")
    ranked = of_columns[order]
    first, last = np.searchsorted(ranked, roots), np.searchsorted(ranked, roots, side="right")
    most = int((last - first).max(initial=0))
    at = first[:, None] + np.arange(most)
    return np.where(at < last[:, None], order[np.minimum(at, len(order) - 1)], -1)


def first_score(options: PruneChannels) -> str:
    """The score that orders channels before anything is measured, and where no reader says anything."""
    return "l2" if options.score in ("auto", "reconstruction") else options.score


def measured(found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context) -> list[Cell]:
    """Cells ordered by reconstruction error, or with measured curves, where the options ask for either.

    Raises:
        UsageError: Where that needs data and there are none.
    """
    choose = options.score == "reconstruction" or (options.score == "auto" and ctx.data is not None)
    if not (choose or options.allocation == "sensitivity"):
        return cells
    if ctx.data is None:
        asked = "--score reconstruction" if choose else "--allocation sensitivity"
        hint = "Give --data FILE (a few hundred samples, no labels), or use --score l2."
        raise UsageError(f"{asked} needs samples", why="it measures errors on them", hint=hint, code="USAGE-NO-DATA")
    return curved(found, cells, ctx, choose=choose) if cells else cells
