"""Axes that are made of several: an atom of the whole goes as soon as one of its factors goes.

The algebra: where C channels become (heads, dims), position (h, d) stays iff head h and slot d stay:
whole[h, d] = head[h] v slot[d]. An axis that several labelled axes are merged into is the same read backwards. A class
with two such equations is consistent iff both have the same live factors; where they differ, the innermost are tied
pairwise, and what is left over stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.atoms import Atoms, Ids


@dataclass(frozen=True, eq=False)
class Product:
    """The equation whole[i] = factors[0, i] v factors[1, i] v ...

    Attributes:
        whole: Atoms [n].
        factors: Atoms [m, n], outermost first.
    """

    whole: Ids
    factors: np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """A list of atoms laid out along several axes, or rows of atoms that belong together because they are summed.

    Attributes:
        ids: The atoms, one dimension an axis.
        lists: Factor atoms of each axis; none where nothing was divided.
        free: The axis along which each row may choose for itself.
    """

    ids: np.ndarray
    lists: tuple[Ids, ...]
    free: int


@dataclass(frozen=True, eq=False)
class Joint:
    """Atoms that differ along several axes of a tensor at once: each row has its own list.

    Attributes:
        ids: The atoms, one dimension an axis.
        axes: Axes of the tensor, ascending, one for each dimension of `ids`.
        free: The axis along which every row may choose for itself; None where that is lost.
    """

    ids: np.ndarray
    axes: tuple[int, ...]
    free: int | None


@dataclass(frozen=True, eq=False)
class Row:
    """A row that chooses for itself.

    Attributes:
        slots: Classes whose removal shortens the axis.
        contents: The class that stands in each slot before the cut.
    """

    slots: Ids
    contents: Ids


@dataclass(frozen=True, eq=False)
class Pick:
    """A tensor that takes indices of another along one axis.

    Attributes:
        source: The other tensor.
        axis: The axis, the same in both.
        indices: What it takes, in order.
    """

    source: ir.Value
    axis: int
    indices: np.ndarray


@dataclass(frozen=True, eq=False)
class Layout:
    """Atoms of a whole as the product of what its axes tell apart.

    Attributes:
        at: Flat positions, one for each distinct atom.
        keys: For each axis a number a position; equal where the slices are equal.
    """

    at: np.ndarray
    keys: list[np.ndarray]


class Equations:
    """All products of a trace as one table; rows of -1 fill up where a product has fewer factors.

    Args:
        atoms: The atoms; frozen and unified further by `settle`.
        products: What was found.
    """

    def __init__(self, atoms: Atoms, products: list[Product]) -> None:
        self._atoms = atoms
        most = max((len(p.factors) for p in products), default=0)
        self.whole = np.concatenate([p.whole for p in products]) if products else np.zeros(0, np.int64)
        self.factors = np.full((most, len(self.whole)), -1)
        at = 0
        for product in products:
            self.factors[most - len(product.factors) :, at : at + len(product.whole)] = product.factors
            at += len(product.whole)

    def settle(self) -> None:
        """Freeze and tie until every class has one meaning."""
        while len(self.whole):
            before = len(self._atoms.freezes), len(self._atoms.pairs)
            self._freeze_along()
            self._reconcile()
            if before == (len(self._atoms.freezes), len(self._atoms.pairs)):
                return

    def roots(self) -> tuple[Ids, np.ndarray]:
        """Representatives of wholes and factors (-1 where there is none)."""
        factors = self._atoms.roots(np.maximum(self.factors, 0))
        return self._atoms.roots(self.whole), np.where(self.factors < 0, -1, factors)

    def derived(self) -> np.ndarray:
        """One bool an atom: True where its class follows from others."""
        whole, factors = self.roots()
        found = np.zeros(len(self._atoms), bool)
        found[whole[(factors != whole).all(axis=0)]] = True
        return found[self._atoms.roots(np.arange(len(self._atoms)))]

    def follows(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of representatives (cause, effect), transitively: when the first goes, the second goes."""
        whole, factors = self.roots()
        pairs = [(row[row >= 0], whole[row >= 0]) for row in factors]
        direct = _distinct(np.concatenate([np.zeros((2, 0), np.int64), *(np.stack(p) for p in pairs)], axis=1))
        known = direct
        while True:
            more = _distinct(np.concatenate([known, _chained(known, direct)], axis=1))
            if more.shape == known.shape:
                return known[0], known[1]
            known = more

    def _freeze_along(self) -> None:
        """A whole that stays holds all of its factors; factors that all stay hold the whole."""
        first = self._atoms.first_freeze()
        whole, factors = self.roots()
        given = factors >= 0
        held = np.where(given, first[np.maximum(factors, 0)], 0)
        loose = given & (held < 0) & (factors != whole)
        stays = np.broadcast_to(first[whole], given.shape)
        self._freeze(factors, loose & (stays >= 0), stays)
        own = (factors == whole).any(axis=0) & (first[whole] < 0)
        if (loose & own).any():
            why = "an axis holds itself and the axes it was split into"
            self._atoms.freeze(np.unique(factors[loose & own]), "PRUNE-FROZEN-COLLISION", "", why)
        self._freeze(whole, (held >= 0).all(axis=0) & (first[whole] < 0), held[-1])

    def _freeze(self, ids: np.ndarray, where: np.ndarray, reasons: np.ndarray) -> None:
        chosen, causes = ids[where], reasons[where]
        for cause in np.unique(causes).tolist():
            old = self._atoms.freezes[cause]
            self._atoms.freeze(np.unique(chosen[causes == cause]), old.code, old.node, old.why)

    def _reconcile(self) -> None:
        """Equations of one class against its first one: unequal live factors are tied in pairs, the rest freezes."""
        frozen = self._atoms.frozen()
        whole, factors = self.roots()
        live = np.where((factors >= 0) & ~frozen[np.maximum(factors, 0)] & (factors != whole), factors, -1)
        order = np.argsort(whole, kind="stable")
        starts = np.concatenate([[True], whole[order][1:] != whole[order][:-1]])
        first = np.empty(len(whole), np.int64)
        first[order] = order[np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))]
        left, right = live, live[:, first]
        a = _packed(np.where((left[:, None] == right[None]).any(axis=1), -1, left))
        b = _packed(np.where((right[:, None] == left[None]).any(axis=1), -1, right))
        both = (a >= 0) & (b >= 0)
        if both.any():
            pairs = _distinct(np.stack([a[both], b[both]]))
            self._atoms.unify(pairs[0], pairs[1])
            return
        alone = (a >= 0) | (b >= 0)
        if alone.any():
            why = "the axis is split in two ways that do not fit each other"
            self._atoms.freeze(np.unique(np.maximum(a, b)[alone]), "PRUNE-FROZEN-COLLISION", "", why)


def _alike(ids: np.ndarray, axis: int) -> np.ndarray:
    """Numbers that are equal where two slices along `axis` are, in order of first appearance."""
    rows = np.moveaxis(ids, axis, 0).reshape(ids.shape[axis], -1).astype(np.uint64)
    weights = np.random.Generator(np.random.PCG64(axis)).integers(1, 2**63, rows.shape[1], np.uint64) | np.uint64(1)
    _, first, inverse = np.unique(rows @ weights, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def laid_out(ids: np.ndarray) -> Layout | None:
    """The layout of atoms along several axes; None where an atom stands in places that differ in a key."""
    keys = [_alike(ids, axis) for axis in range(ids.ndim)]
    place = np.ravel_multi_index(np.ix_(*keys), [int(key.max()) + 1 for key in keys])
    places, at = np.unique(place, return_index=True)
    whole = ids.ravel()[at]
    same = np.array_equal(whole[place], ids) and len(np.unique(whole)) == len(places)
    return Layout(at, keys) if same else None


def _packed(rows: np.ndarray) -> np.ndarray:
    """The entries that are not -1 moved to the last rows, in order."""
    return np.take_along_axis(rows, np.argsort(rows >= 0, axis=0, kind="stable"), axis=0)


def _distinct(pairs: np.ndarray) -> np.ndarray:
    keys = np.unique((pairs[0] << 32) | pairs[1])
    return np.stack([keys >> 32, keys & 0xFFFFFFFF])


def _chained(known: np.ndarray, direct: np.ndarray) -> np.ndarray:
    """Pairs (a, c) for each (a, b) known and (b, c) direct; `direct` is sorted by its first row."""
    source, target = looked_up(direct[0], direct[1], known[1])
    return np.stack([known[0][source], target])


def looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every key that is wanted all of its values: indices into `wanted`, and the values.

    Args:
        keys: Ascending.
        values: As many.
        wanted: Keys, in any order.
    """
    low = np.searchsorted(keys, wanted, "left")
    count = np.searchsorted(keys, wanted, "right") - low
    starts = np.cumsum(count) - count
    into = np.arange(int(count.sum())) + np.repeat(low - starts, count)
    return np.repeat(np.arange(len(wanted)), count), values[into]
