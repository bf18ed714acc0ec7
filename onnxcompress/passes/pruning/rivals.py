"""Heads or dims: where an axis has two factors, one of them is offered for cutting, so that a ratio means what it says.

Cutting both would leave (1 - r)^2 of the axis at a ratio r. The rule: of the two sides, the one that loses less
importance at the same saving (half of its columns); a side can only be chosen where each of its axes can give anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.passes.pruning.atoms import Atoms, Ids
from onnxcompress.passes.pruning.products import Equations

if TYPE_CHECKING:
    from onnxcompress.passes.pruning.cells import Cell
    from onnxcompress.passes.pruning.products import Row


Offer = Sequence[tuple["Cell", list["Row"]]]


def choose(
    equations: Equations, families: Sequence[Ids], offers: Sequence[Offer], inner: Sequence[bool], heads: str
) -> list[int]:
    """Indices of the families that are offered, ascending.

    Args:
        equations: The products, settled.
        families: Classes of each family.
        offers: Cells of each family; none where all of it stays.
        inner: Whether a family is the inner side of a division.
        heads: ``dims``, ``whole`` or ``auto``.
    """
    pairs = _pairs(equations, families, [bool(offer) for offer in offers])
    chosen: list[int] = []
    for group in _components(len(families), pairs):
        live = [at for at in group if offers[at]]
        if heads == "auto" and len(live) > 1:
            sides = [_independent(live, pairs, inner, first) for first in (True, False)]
            chosen += min(sides, key=lambda side: _loss(side, offers))
        else:
            chosen += _independent(live, pairs, inner, heads != "whole")
    return sorted(chosen)


def _pairs(equations: Equations, families: Sequence[Ids], live: Sequence[bool]) -> set[tuple[int, int]]:
    """Families that are factors of one axis, both with something to give."""
    _, factors = equations.roots()
    size = int(max((ids.max(initial=0) for ids in families), default=0))
    owner = np.full(max(size, int(factors.max(initial=0))) + 2, -1)
    for at, ids in enumerate(families):
        if live[at]:
            owner[ids] = at
    owners = owner[factors]
    found: set[tuple[int, int]] = set()
    for a in range(len(owners)):
        for b in range(a + 1, len(owners)):
            both = (owners[a] >= 0) & (owners[b] >= 0) & (owners[a] != owners[b])
            for x, y in np.unique(np.stack([owners[a][both], owners[b][both]]), axis=1).T.tolist():
                found.add((min(x, y), max(x, y)))
    return found


def _components(count: int, pairs: set[tuple[int, int]]) -> list[list[int]]:
    groups = Atoms()
    everyone = groups.fresh(count)
    if pairs:
        left, right = np.array(sorted(pairs)).T
        groups.unify(left, right)
    roots = groups.roots(everyone)
    return [np.flatnonzero(roots == root).tolist() for root in np.unique(roots)]


def _independent(live: Sequence[int], pairs: set[tuple[int, int]], inner: Sequence[bool], first: bool) -> list[int]:
    """Families no two of which are rivals: first those on the wanted side."""
    chosen: list[int] = []
    for at in sorted(live, key=lambda i: (inner[i] != first, i)):
        if not any((min(at, c), max(at, c)) in pairs for c in chosen):
            chosen.append(at)
    return chosen


def _loss(side: Sequence[int], offers: Sequence[Offer]) -> float:
    """Importance lost at half of the columns."""
    return sum(float(cell.importance[: cell.width // 2].sum()) for at in side for cell, _ in offers[at])
