"""Union-find over atoms, the identities of channels; all operations take whole lists at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Ids = np.ndarray
"""A list of atoms, int64: one for each position of an axis."""


@dataclass(frozen=True)
class Freeze:
    """Why some atoms must stay: a reason code, the node concerned, and a clause for the reader.

    `output` names the graph output that holds them, as ``--allow-output`` takes it; empty where none does.
    """

    ids: Ids
    code: str
    node: str
    why: str
    output: str = ""


@dataclass
class Atoms:
    """A growing set of atoms and its partition into classes.

    Attributes:
        freezes: What must stay, in the order in which it was found; the first reason of a class is reported.
        pairs: Every pair of lists that was unified.
    """

    freezes: list[Freeze] = field(default_factory=list)
    pairs: list[tuple[Ids, Ids]] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _parent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def fresh(self, count: int) -> Ids:
        """`count` new atoms, each a class of its own."""
        start, self._count = self._count, self._count + count
        self._starts.append(start)
        if self._count > len(self._parent):
            grown = np.arange(2 * self._count)
            grown[:start] = self._parent[:start]
            self._parent = grown
        return np.arange(start, self._count)

    def roots(self, ids: Ids) -> Ids:
        """The representative of each atom's class."""
        found = self._parent[ids]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[ids] = found
                return found
            found = above

    def origins(self) -> np.ndarray:
        """For each atom the number of the `fresh` call that made it."""
        return np.searchsorted(np.array(self._starts), np.arange(self._count), side="right") - 1

    def unify(self, left: Ids, right: Ids) -> None:
        """Put the atoms at equal positions into one class."""
        self.pairs.append((left, right))
        while True:
            a, b = self.roots(left), self.roots(right)
            if np.array_equal(a, b):
                return
            # Hooking the larger root under the smaller one keeps the forest free of cycles.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))

    def freeze(self, ids: Ids, code: str, node: str, why: str) -> None:
        """Mark the classes of `ids` as not removable."""
        if len(ids):
            self.freezes.append(Freeze(ids, code, node, why))

    def first_freeze(self) -> np.ndarray:
        """For each atom the index in `freezes` of the first one of its class; -1 where nothing holds it."""
        none = len(self.freezes)
        first = np.full(self._count, none)
        if none:
            ids = np.concatenate([freeze.ids.ravel() for freeze in self.freezes])
            numbers = np.repeat(np.arange(none), [freeze.ids.size for freeze in self.freezes])
            np.minimum.at(first, self.roots(ids), numbers)
        first = first[self.roots(np.arange(self._count))]
        return np.where(first == none, -1, first)

    def frozen(self) -> np.ndarray:
        """One bool an atom: True where its class must stay."""
        return self.first_freeze() >= 0

    def reasons(self) -> dict[int, Freeze]:
        """The first reason of every frozen class, by its representative."""
        first = self.first_freeze()
        held = np.flatnonzero((first >= 0) & (self.roots(np.arange(self._count)) == np.arange(self._count)))
        return {int(root): self.freezes[first[root]] for root in held}
