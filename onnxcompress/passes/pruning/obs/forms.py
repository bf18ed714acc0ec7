"""Which form each reader's statistics take, so that one cell's matrices stay within the memory.

The patch form has a column for every kernel tap (or position) of every channel, n in all; its Gram matrix, its inverse
and what a step needs take about 5 n^2 numbers. Beyond 8,000 columns, or beyond the memory, a reader is measured in the
channel form, C x C; where that is too large too, it is left out, and a cell that nothing else reads keeps the order of
the weights' norms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.obs.readers import Arrays, Reader, Rows
from onnxcompress.report import Finding

MOST_COLUMNS = 8_000
_COPIES = 5


@dataclass(frozen=True)
class Plan:
    """Readers in their form.

    Attributes:
        readers: By number.
        seen: For each cell the numbers of its readers, ascending.
        findings: What is not in the patch form.
    """

    readers: dict[int, Reader]
    seen: list[list[int]]
    findings: list[Finding]


def formed(readers: Sequence[Reader], cells: Sequence[Cell], memory: int) -> Plan:
    """The form of every reader that some cell needs.

    Args:
        readers: All in the patch form.
        cells: What is decided on.
        memory: Ceiling for one cell's matrices, bytes.
    """
    seen = _seen(readers, cells)
    needed = sorted({at for ats in seen for at in ats})
    wide = {at for at in needed if not _fits([readers[at]], memory)}
    for ats in seen:
        if not _fits([readers[at] for at in ats if at not in wide], memory):
            wide |= set(ats)
    chosen = {at: by_channel(readers[at]) if at in wide else readers[at] for at in needed}
    fitting = {at: r for at, r in chosen.items() if r is not None and (at not in wide or _fits([r], memory))}
    findings = [_finding(readers[at], fitting.get(at)) for at in sorted(wide)]
    return Plan(fitting, [[at for at in ats if at in fitting] for ats in seen], findings)


def _seen(readers: Sequence[Reader], cells: Sequence[Cell]) -> list[list[int]]:
    roots = [np.unique(reader.roots) for reader in readers]
    owners: dict[int, int] = {root: at for at, cell in enumerate(cells) for root in cell.order.ravel().tolist()}
    seen: list[list[int]] = [[] for _ in cells]
    for at, present in enumerate(roots):
        for index in sorted({owners[root] for root in present.tolist() if root in owners}):
            seen[index].append(at)
    return seen


def _fits(readers: Sequence[Reader], memory: int) -> bool:
    columns = max((reader.roots.shape[1] for reader in readers), default=0)
    return columns <= MOST_COLUMNS and _COPIES * sum(reader.bytes for reader in readers) <= memory


def _finding(reader: Reader, used: Reader | None) -> Finding:
    columns = reader.roots.shape[1]
    if used is None:
        text = f"not measured: {columns} columns exceed the memory ceiling, and its channels have no smaller form"
        return Finding("PRUNE-CURVE-TOO-LARGE", text, reader.node, numbers={"columns": columns})
    text = f"measured channel by channel ({used.roots.shape[1]} columns): {columns} patch columns are too many"
    return Finding("PRUNE-CURVE-BY-CHANNEL", text, reader.node, numbers={"columns": columns})


def by_channel(reader: Reader) -> Reader | None:
    """The reader with one column a class (C x C instead of patches), or None where its columns are no equal blocks.

    Each tap of a channel becomes a row of its own and brings its own outputs: what is left can stand in for a removed
    channel only position by position, so that the error is an upper bound of the patch form's, up to how taps
    correlate. A column of ones stays one, so that the mean of each tap can still be compensated.
    """
    groups, columns = reader.roots.shape
    constant = int((reader.roots[:, -1] < 0).all()) if columns > 1 else 0
    body = reader.roots[:, : columns - constant]
    taps = _block(body)
    if taps == 1:
        return None
    roots = np.concatenate([body[:, ::taps], reader.roots[:, columns - constant :]], axis=1)
    weight = _narrow(reader.weight[:, : columns - constant].reshape(groups, body.shape[1] // taps, -1))
    weight = np.concatenate([weight, np.zeros((groups, constant, weight.shape[2]))], axis=1)
    return replace(reader, roots=roots, weight=weight, view=_ChannelRows(reader.view, taps, constant))


def _narrow(weight: np.ndarray) -> np.ndarray:
    """F with F F^T = W W^T and no more outputs than columns: all that errors and variances depend on.

    A dense layer behind a flattened map has a hundred thousand outputs in this form.
    """
    if weight.shape[2] <= weight.shape[1]:
        return weight
    values, vectors = np.linalg.eigh(np.stack([part @ part.T for part in weight]))
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def _block(roots: np.ndarray) -> int:
    """The largest number of neighbouring columns that always share a class."""
    changes = np.flatnonzero((roots[:, 1:] != roots[:, :-1]).any(axis=0)) + 1
    return int(np.gcd.reduce([*changes.tolist(), roots.shape[1]]))


@dataclass(frozen=True, eq=False)
class _ChannelRows:
    """Every tap of every row as a row of its own."""

    view: Rows
    taps: int
    constant: int

    def count(self, arrays: Arrays) -> int:
        return self.view.count(arrays)

    def rows(self, arrays: Arrays, positions: np.ndarray) -> np.ndarray:
        few = positions[:: self.taps]
        rows = self.view.rows(arrays, few)
        groups, count, columns = rows.shape
        blocks = rows[:, :, : columns - self.constant].reshape(groups, count, -1, self.taps)
        long = blocks.transpose(0, 1, 3, 2).reshape(groups, count * self.taps, -1)
        ones = np.ones((groups, long.shape[1], self.constant), long.dtype)
        return np.concatenate([long, ones], axis=2)
