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
from onnxcompress.passes.pruning.obs.forms import Plan, formed
from onnxcompress.passes.pruning.obs.greedy import Elimination, eliminate
from onnxcompress.passes.pruning.obs.readers import readers_of
from onnxcompress.passes.pruning.obs.statistics import Statistics, measure
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.prune_channels import PruneChannels


def curved(found: Trace, cells: Sequence[Cell], ctx: Context, *, choose: bool) -> tuple[list[Cell], list[Finding]]:
    """Cells with the error curve of their order as importance, and a finding for each that has no plain curve.

    Args:
        found: The trace.
        cells: What is decided on, ordered by any score.
        ctx: Data, seed, memory.
        choose: True to order channels by reconstruction error; False to keep the order and only measure it.
    """
    plan = formed(list(readers_of(found)), cells, ctx.memory_bytes)
    result = list(cells)
    for batch in _batches(plan, ctx.memory_bytes):
        readers = {at: plan.readers[at] for index in batch for at in plan.seen[index]}
        statistics = measure(found, dict(sorted(readers.items())), ctx) if readers else {}
        for index in batch:
            read = [statistics[at] for at in plan.seen[index] if at in statistics]
            result[index] = _curve(cells[index], read, choose)
    return result, plan.findings


def _batches(plan: Plan, memory: int) -> Iterator[list[int]]:
    """Cells by number, as many at a time as their Gram matrices may fill a third of the memory."""
    batch: list[int] = []
    held: set[int] = set()
    for index, ats in enumerate(plan.seen):
        if batch and sum(plan.readers[at].bytes for at in held | set(ats)) > memory // 3:
            yield batch
            batch, held = [], set()
        batch.append(index)
        held |= set(ats)
    yield batch


def _curve(cell: Cell, read: Sequence[Statistics], choose: bool) -> Cell:
    states = [state for statistics in read if statistics.fit.rows for state in _states(cell, statistics)]
    if not states:
        power = np.square(cell.importance)
        return replace(cell, importance=power / max(float(power.sum()), 1e-30))
    free, columns = cell.order[cell.tied :], cell.order.shape[1]
    units = np.arange((1 + len(free)) * columns).reshape(-1, columns)
    order, added = eliminate(states, units, choose=choose)
    together = [cell.order[: cell.tied, order[0]], free.ravel()[order[1:] - columns]]
    return replace(cell, order=np.concatenate(together), importance=added)


def _states(cell: Cell, statistics: Statistics) -> Iterator[Elimination]:
    """The reader's groups that see the cell, with errors in units of the variance fed."""
    reader, hessian, held = statistics.reader, statistics.hessian(), statistics.held_gram()
    factor = 1.0 / np.sqrt(statistics.fit.variance())
    for group in range(len(reader.roots)):
        columns = _united(cell, _columns(cell.order.ravel(), reader.roots[group]))
        if columns.size:
            aside = None if held is None else held[group]
            yield Elimination(hessian[group], reader.weight[group] * factor, columns, aside)


def _united(cell: Cell, columns: np.ndarray) -> np.ndarray:
    """Columns of each unit: a slot with all that goes with it, then the channels of rows that choose for themselves."""
    by_row = columns.reshape(*cell.order.shape, -1)
    again = np.concatenate([np.zeros((1, by_row.shape[1]), bool), cell.order[1 : cell.tied] == cell.order[0]])
    tied = np.where(again[..., None], -1, by_row[: cell.tied]).transpose(1, 0, 2).reshape(by_row.shape[1], -1)
    tied = -np.sort(-tied, axis=1)[:, : max(1, int((tied >= 0).sum(axis=1).max(initial=0)))]
    rest = by_row[cell.tied :].reshape(-1, by_row.shape[2])
    width = max(tied.shape[1], rest.shape[1])
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=-1) for p in (tied, rest)])


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


def measured(found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context) -> tuple[list[Cell], list[Finding]]:
    """Cells ordered by reconstruction error, or with measured curves, where the options ask for either.

    Raises:
        UsageError: Where that needs data and there are none.
    """
    choose = options.score == "reconstruction" or (options.score == "auto" and ctx.data is not None)
    if not (choose or options.allocation == "sensitivity"):
        return cells, []
    if ctx.data is None:
        asked = "--score reconstruction" if choose else "--allocation sensitivity"
        hint = "Give --data FILE (a few hundred samples, no labels), or use --score l2."
        raise UsageError(f"{asked} needs samples", why="it measures errors on them", hint=hint, code="USAGE-NO-DATA")
    return curved(found, cells, ctx, choose=choose) if cells else (cells, [])
