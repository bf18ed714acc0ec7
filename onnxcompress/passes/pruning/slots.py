"""Free choice inside blocks: which channels of each row may trade places, so that every row drops its own least ones.

The algebra: a slot is a position of a divided axis; it holds one channel of each row (head, group, direction). Two
channels of a row may trade places iff everything else stays as it is: they stand in the same rows of every divided
list and in the same tensors, their members were born in the same constants, and their members met each other in the
same way. That is a signature, a sum of hashes over a class. A row is free iff each slot holds exactly one channel of
its signature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Trace

_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Slots:
    """Slots that are alike, and what they hold.

    Attributes:
        slots: Classes [n] whose removal shortens the axis.
        free: Classes [rows, n]; every row may trade places inside itself.
        fixed: Classes [k, n] that go with their slot, filled up with the slot itself.
    """

    slots: Ids
    free: np.ndarray
    fixed: np.ndarray


def hashed(*numbers: np.ndarray) -> np.ndarray:
    """One well-mixed uint64 for each tuple of integers (splitmix64)."""
    state = np.zeros(np.broadcast_shapes(*(n.shape for n in numbers)), np.uint64)
    for number in numbers:
        state = (state ^ number.astype(np.uint64)) + _MIX
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def signatures(found: Trace) -> np.ndarray:
    """One uint64 an atom, that of its class; 0 where the class may not trade places."""
    atoms = found.atoms
    everyone = np.arange(len(atoms))
    roots = atoms.roots(everyone)
    total = np.zeros(len(atoms), np.uint64)
    np.add.at(total, roots, hashed(np.zeros(1, np.int64), atoms.origins()))
    rank = _rank(roots)
    for number, (left, right) in enumerate(atoms.pairs):
        np.add.at(total, roots[left], hashed(np.full(1, number), rank[left], rank[right]))
    for number, split in enumerate(found.splits):
        rows = np.moveaxis(split.ids, split.free, -1)
        names = np.broadcast_to(np.arange(rows[..., 0].size).reshape(*rows.shape[:-1], 1), rows.shape).ravel()
        pairs = np.unique(np.stack([roots[rows.ravel()], names]), axis=1) if rows.size else np.zeros((2, 0), np.int64)
        np.add.at(total, pairs[0], hashed(np.full(1, -1), np.full(1, number), pairs[1]))
    for number, ids in enumerate(_tensor_lists(found)):
        np.add.at(total, np.unique(roots[ids]), hashed(np.full(1, -2), np.full(1, number)))
    total |= np.uint64(1)
    # What other axes are made of would have to move along with them.
    for ids in (*found.pinned, *(product.factors.ravel() for product in found.products)):
        total[roots[ids]] = 0
    return total[roots]


def _tensor_lists(found: Trace) -> list[Ids]:
    """Every list of a tensor once: what happens to a part of the channels alone happens to a list of its own."""
    lists = [ids for labels in found.labels.values() for ids in labels if ids is not None]
    joints = [joint.ids for each in found.joints.values() for joint in each]
    return list({id(ids): ids for ids in (*lists, *joints)}.values())


def _rank(roots: np.ndarray) -> np.ndarray:
    """The number of each atom among the members of its class, in the order in which they were made."""
    order = np.argsort(roots, kind="stable")
    ordered = roots[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(order)]]))
    rank = np.empty(len(roots), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, counts)
    return rank


def slots_of(slots: Ids, at: np.ndarray, effect: Ids, signs: np.ndarray) -> list[Slots]:
    """Sort the slots of one axis into sets of equal make-up.

    Args:
        slots: Classes, all removable.
        at: Indices into `slots`, ascending.
        effect: The classes that go with the slots at `at`.
        signs: Signatures.
    """
    sign = signs[effect]
    _, back, times = np.unique(effect, return_inverse=True, return_counts=True)
    shared = times[back] > 1
    keys = hashed(at, sign.view(np.int64))
    _, inverse, count = np.unique(keys, return_inverse=True, return_counts=True)
    free = (sign != 0) & ~shared & (count[inverse] == 1)
    kind = np.zeros(len(slots), np.uint64)
    np.add.at(kind, at[free], hashed(sign[free].view(np.int64)))
    result: list[Slots] = []
    for each in np.unique(kind):
        members = np.flatnonzero(kind == each)
        mine = np.isin(at, members)
        place = np.searchsorted(members, at[mine])
        result.append(_Sorted(slots[members], place, effect[mine], sign[mine], free[mine]).slots())
    return result


@dataclass(frozen=True, eq=False)
class _Sorted:
    names: Ids
    place: np.ndarray
    effect: np.ndarray
    sign: np.ndarray
    free: np.ndarray

    def slots(self) -> Slots:
        order = np.lexsort((self.place[self.free], self.sign[self.free]))
        free = self.effect[self.free][order].reshape(-1, len(self.names))
        place, effect = self.place[~self.free], self.effect[~self.free]
        order = np.argsort(place, kind="stable")
        place, effect = place[order], effect[order]
        rank = np.arange(len(place)) - np.searchsorted(place, place)
        fixed = np.repeat(self.names[None], int(rank.max(initial=-1)) + 1, axis=0)
        fixed[rank, place] = effect
        return Slots(self.names, free, fixed)
