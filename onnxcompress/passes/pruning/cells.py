"""Cells: the smallest sets of classes that a decision is made for, and the order in which they would go.

Classes that follow from others (`products`) are nobody's own decision. The rest falls into families: the channels of
one producer, the factors of one axis. A plain family is one cell with one row. A family of slots (dims of heads,
channels of groups, units of directions) becomes a cell for each make-up of its slots (`slots`), with a row for each
block that chooses for itself. `order[:, j]` is what goes at the j-th step: a decision about a cell is one number, how
many columns of `order` go. Heads and their dims are rivals, of which one is offered (`rivals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.graph import label
from onnxcompress.passes.pruning.atoms import Atoms, Ids
from onnxcompress.passes.pruning.products import Equations, Row, looked_up
from onnxcompress.passes.pruning.rivals import choose
from onnxcompress.passes.pruning.slots import Slots, signatures, slots_of
from onnxcompress.passes.pruning.trace import Producer, Trace


@dataclass(frozen=True, eq=False)
class Cell:
    """Classes that are decided on together.

    Attributes:
        order: Removable classes [rows, columns], cheapest first.
        importance: Importance of `order`, summed over the rows, by column.
        width: Columns, removable or not.
        channels: Channels that one column stands for.
        tied: Leading rows of `order` whose columns go as a whole; each later row may be ordered for itself.
        producers: Nodes that make these channels.
    """

    order: np.ndarray
    importance: np.ndarray
    width: int
    producers: tuple[Producer, ...]
    channels: int = 1
    tied: int = 1

    def trimmed(self, columns: int) -> Cell:
        """The same cell with only its `columns` cheapest columns to give."""
        return replace(self, order=self.order[:, :columns], importance=self.importance[:columns])

    @property
    def name(self) -> str:
        """The first producer's label."""
        return label(self.producers[0].node)


def cells(found: Trace, scores: np.ndarray, heads: str = "auto") -> list[Cell]:
    """All cells that have something to remove, in the order of their first producer.

    Freezes what is out of scope; call before anything else asks what is frozen.

    Args:
        found: The trace.
        scores: One number an atom; see `importance`.
        heads: What divided axes lose: ``dims`` of every row, ``whole`` rows, or ``auto``, whichever costs less.
    """
    return _Cells(found, scores).list(heads)


class _Cells:
    def __init__(self, found: Trace, scores: np.ndarray) -> None:
        equations = Equations(found.atoms, found.products)
        self._found, self._equations = found, equations
        self._out_of_scope()
        equations.settle()
        everyone = np.arange(len(found.atoms))
        self._frozen, self._derived = found.atoms.frozen(), equations.derived()
        self._ahead = equations.follows()
        backwards = np.argsort(self._ahead[1], kind="stable")
        self._behind = (self._ahead[1][backwards], self._ahead[0][backwards])
        self._scores = scores[found.atoms.roots(everyone)]
        self._weight = np.where(_weighted(found), self._scores, 0.0)
        self._signs = signatures(found)

    def list(self, heads: str) -> list[Cell]:
        families = self._families()
        by_family = [self._cells_of(roots, makers) for roots, makers in families]
        offered = choose(self._equations, [roots for roots, _ in families], by_family, self._inner(families), heads)
        rows: list[Row] = []
        result: list[Cell] = []
        for at in offered:
            for cell, own in by_family[at]:
                result.append(cell)
                rows += own
        self._found.rows = rows
        return result

    def _out_of_scope(self) -> None:
        """Channels outside of the nodes that the user named."""
        for producer in self._found.producers:
            if label(producer.node) not in self._found.scope:
                self._found.freeze([producer.ids], producer.node, "PRUNE-OUT-OF-SCOPE", "the node was excluded")

    def _families(self) -> list[tuple[Ids, list[Producer]]]:
        """Connected sets of classes of their own: those of one producer, or of one factor."""
        roots = self._found.atoms.roots
        made = [self._causes(np.unique(roots(producer.ids))) for producer in self._found.producers]
        own = [np.unique(roots(p.ids))[~self._derived[np.unique(roots(p.ids))]] for p in self._found.producers]
        factors = [np.unique(roots(ids)) for split in self._found.splits for ids in split.lists]
        own += [ids[~self._derived[ids]] for ids in factors]
        groups = Atoms()
        groups.fresh(len(self._found.atoms))
        for ids in own:
            if len(ids) > 1:
                groups.unify(np.full(len(ids) - 1, ids[0]), ids[1:])
        touched = np.unique(np.concatenate([np.zeros(0, np.int64), *made, *own]))
        names, inverse = np.unique(groups.roots(touched), return_inverse=True)
        makers: list[list[Producer]] = [[] for _ in names]
        for producer, classes in zip(self._found.producers, made, strict=True):
            for name in np.unique(groups.roots(classes)).tolist():
                makers[int(np.searchsorted(names, name))].append(producer)
        ordered = np.argsort(inverse, kind="stable")
        parts = np.split(touched[ordered], np.cumsum(np.bincount(inverse, minlength=len(names)))) if len(names) else []
        return [(part, each) for part, each in zip(parts, makers, strict=False) if each]

    def _causes(self, classes: Ids) -> Ids:
        """The classes of their own behind some classes."""
        mine = np.union1d(classes, looked_up(*self._behind, classes)[1])
        return mine[~self._derived[mine]]

    def _inner(self, families: Sequence[tuple[Ids, list[Producer]]]) -> list[bool]:
        """Whether a family lies along the free axis of a division."""
        free = [split.lists[split.free] for split in self._found.splits if split.lists]
        inside = np.unique(self._found.atoms.roots(np.concatenate([np.zeros(0, np.int64), *free])))
        return [bool(np.isin(roots, inside).any()) for roots, _ in families]

    def _cells_of(self, roots: Ids, makers: list[Producer]) -> list[tuple[Cell, list[Row]]]:
        loose = roots[~self._frozen[roots]]
        if not len(loose):
            return []
        at, effects = looked_up(*self._ahead, loose)
        if not len(at):
            order = loose[np.argsort(self._scores[loose], kind="stable")][None]
            return [(Cell(order, self._scores[order[0]], len(roots), tuple(makers)), [])]
        sets = slots_of(loose, at, effects, self._signs)
        spare = len(roots) - len(loose) if len(sets) == 1 else 0
        return [self._cell_of_slots(each, spare, makers) for each in sets]

    def _cell_of_slots(self, each: Slots, spare: int, makers: list[Producer]) -> tuple[Cell, list[Row]]:
        held = np.concatenate([each.slots[None], np.where(each.fixed == each.slots, -1, each.fixed)])
        price = np.where(held < 0, 0.0, self._weight[np.maximum(held, 0)]).sum(axis=0)
        by_price = np.argsort(price, kind="stable")
        free = np.take_along_axis(each.free, np.argsort(self._scores[each.free], axis=1, kind="stable"), axis=1)
        order = np.concatenate([each.slots[None, by_price], each.fixed[:, by_price], free])
        lost = price[by_price] + self._weight[free].sum(axis=0)
        width, channels = len(each.slots) + spare, self._channels(order, makers)
        rows = [Row(each.slots, contents) for contents in each.free]
        return Cell(order, lost, width, tuple(makers), channels, 1 + len(each.fixed)), rows

    def _channels(self, order: np.ndarray, makers: list[Producer]) -> int:
        """Most channels of one producer that a column takes."""
        inside = np.zeros(len(self._found.atoms), bool)
        inside[order] = True
        taken = [int(inside[self._found.atoms.roots(maker.ids)].sum()) for maker in makers]
        return max(1, max(taken, default=0) // order.shape[1])


def _weighted(found: Trace) -> np.ndarray:
    """One bool an atom: True where its class has a slice in a weight, so that its score says something."""
    marked = np.zeros(len(found.atoms), bool)
    for use in found.uses:
        if use.linear:
            for ids in use.lists():
                marked[found.atoms.roots(ids)] = True
    return marked[found.atoms.roots(np.arange(len(marked)))]
