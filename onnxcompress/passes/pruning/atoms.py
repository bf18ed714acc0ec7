"""Union-find over atoms, the identities of channels; all operations take whole lists at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Ids = np.ndarray
"""A list of atoms, int64: one for each position of an axis."""


@dataclass(frozen=True)
class Freeze:
    """Why some atoms must stay: a reason code, the node concerned, and a clause for the reader."""

    ids: Ids
    code: str
    node: str
    why: str


@dataclass
class Atoms:
    """A growing set of atoms and its partition into classes.

    Attributes:
        freezes: What must stay, in the order in which it was found; the first reason of a class is reported.
    """

    freezes: list[Freeze] = field(default_factory=list)
    _parent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def fresh(self, count: int) -> Ids:
        """`count` new atoms, each a class of its own."""
        start, self._count = self._count, self._count + count
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

    def unify(self, left: Ids, right: Ids) -> None:
        """Put the atoms at equal positions into one class."""
        while True:
            a, b = self.roots(left), self.roots(right)
            if np.array_equal(a, b):
                return
            # Hooking the larger root under the smaller one keeps the forest free of cycles.
            np.minimum.at(self._parent, np.maximum(a, b), np.minimum(a, b))

    def freeze(self, ids: Ids, code: str, node: str, why: str) -> None:
        """Mark the classes of `ids` as not removable."""
        self.freezes.append(Freeze(ids, code, node, why))

    def frozen(self) -> np.ndarray:
        """One bool an atom: True where its class must stay."""
        marked = np.zeros(self._count, bool)
        for freeze in self.freezes:
            marked[self.roots(freeze.ids)] = True
        return marked[self.roots(np.arange(self._count))]

    def reasons(self) -> dict[int, Freeze]:
        """The first reason of every frozen class, by its representative."""
        found: dict[int, Freeze] = {}
        for freeze in self.freezes:
            for root in np.unique(self.roots(freeze.ids)).tolist():
                found.setdefault(root, freeze)
        return found
