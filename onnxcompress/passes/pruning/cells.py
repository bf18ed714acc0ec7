"""Cells: the smallest sets of classes that a decision is made for, and the order in which they would go.

A family is what producers tie together; it falls into cells. A cell has rows that must keep equal counts (the blocks of
a grouped convolution); most cells have one row. `order[:, j]` is the j-th cheapest class of every row: a decision about
a cell is one number, how many columns of `order` go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.graph import label
from onnxcompress.passes.pruning.trace import Producer, Trace


@dataclass(frozen=True, eq=False)
class Cell:
    """Classes that are decided on together.

    Attributes:
        order: Removable classes [rows, columns], cheapest first.
        importance: Importance of `order`, summed over the rows, by column.
        width: Classes a row, removable or not.
        producers: Nodes that make these channels.
    """

    order: np.ndarray
    importance: np.ndarray
    width: int
    producers: tuple[Producer, ...]

    def trimmed(self, columns: int) -> Cell:
        """The same cell with only its `columns` cheapest columns to give."""
        return replace(self, order=self.order[:, :columns], importance=self.importance[:columns])

    @property
    def name(self) -> str:
        """The first producer's label."""
        return label(self.producers[0].node)


def cells(found: Trace, scores: np.ndarray) -> list[Cell]:
    """All cells that have something to remove, in the order of their first producer.

    Ties the blocks of constraints that contradict each other; call before anything else reads the classes.
    """
    constraints = _settle(found)
    frozen = found.atoms.frozen() | _forbidden(found)
    families = _families(found, constraints)
    result: list[Cell] = []
    for roots, producers in families:
        inside = [rows for rows in constraints if np.isin(rows, roots).any()]
        covered = np.concatenate([rows.ravel() for rows in inside]) if inside else np.zeros(0, np.int64)
        rest = np.setdiff1d(roots, covered)
        for rows in [*inside, *([rest[None, :]] if len(rest) else [])]:
            cell = _cell(rows, frozen, scores, producers)
            if cell is not None:
                result.append(cell)
    return result


def _forbidden(found: Trace) -> np.ndarray:
    """Classes outside of the nodes that the user named."""
    marked = np.zeros(len(found.atoms), bool)
    for producer in found.producers:
        if label(producer.node) not in found.scope:
            found.freeze([producer.ids], producer.node, "PRUNE-OUT-OF-SCOPE", "the node was excluded")
            marked[found.atoms.roots(producer.ids)] = True
    return marked[found.atoms.roots(np.arange(len(found.atoms)))]


def _cell(rows: np.ndarray, frozen: np.ndarray, scores: np.ndarray, producers: Sequence[Producer]) -> Cell | None:
    free = [row[~frozen[row]] for row in rows]
    length = min(len(row) for row in free)
    if length == 0:
        return None
    ordered = [row[np.argsort(scores[row], kind="stable")] for row in free]
    order = np.stack([row[:length] for row in ordered])
    return Cell(order, scores[order].sum(axis=0), rows.shape[1], tuple(producers))


def _families(found: Trace, constraints: list[np.ndarray]) -> list[tuple[np.ndarray, list[Producer]]]:
    """Connected sets of classes: those of one producer, or of one constraint, belong together."""
    lists = [np.unique(found.atoms.roots(producer.ids)) for producer in found.producers]
    lists += [np.unique(rows) for rows in constraints]
    owner = np.arange(len(found.atoms))
    changed = True
    while changed:
        before = owner.copy()
        for roots in lists:
            owner[roots] = owner[roots].min()
        owner = owner[owner]
        changed = not np.array_equal(before, owner)
    gathered: dict[int, tuple[list[np.ndarray], list[Producer]]] = {}
    for at, roots in enumerate(lists):
        entry = gathered.setdefault(int(owner[roots[0]]), ([], []))
        entry[0].append(roots)
        if at < len(found.producers):
            entry[1].append(found.producers[at])
    return [(np.unique(np.concatenate(parts)), makers) for parts, makers in gathered.values() if makers]


def _settle(found: Trace) -> list[np.ndarray]:
    """Block constraints as matrices of distinct classes; those that cannot hold side by side become ties."""
    while True:
        settled: dict[int, int] = {}
        result: list[np.ndarray] = []
        conflict = None
        for matrix in found.blocks:
            rows = found.atoms.roots(matrix.ravel()).reshape(matrix.shape)
            if len(rows) == 1 or (rows == rows[0]).all():
                continue
            distinct = _distinct(rows)
            if distinct is None or not _agrees(distinct, settled, result):
                conflict = matrix
                break
        if conflict is None:
            return result
        for row in conflict[1:]:
            found.atoms.unify(conflict[0], row)


def _distinct(rows: np.ndarray) -> np.ndarray | None:
    """Each row's classes once; None where a class is in two rows, or occurs unevenly."""
    each = [np.unique(row, return_counts=True) for row in rows]
    if len({len(values) for values, _ in each}) > 1 or len({c for _, counts in each for c in counts.tolist()}) > 1:
        return None
    stacked = np.stack([values for values, _ in each])
    return stacked if len(np.unique(stacked)) == stacked.size else None


def _agrees(rows: np.ndarray, settled: dict[int, int], result: list[np.ndarray]) -> bool:
    """Add a constraint, unless it cuts across an older one; the same one twice is one."""
    owners = {settled.get(int(root), -1) for root in rows.ravel()}
    if owners == {-1}:
        for root in rows.ravel().tolist():
            settled[root] = len(result)
        result.append(rows)
        return True
    if -1 in owners or len(owners) > 1:
        return False
    old = result[owners.pop()]
    return old.shape == rows.shape and {tuple(sorted(r)) for r in old.tolist()} == {tuple(r) for r in rows.tolist()}
