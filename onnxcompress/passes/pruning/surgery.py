"""The cut: every labelled constant loses the removed positions, then sizes and attributes follow (`relabel`)."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, fresh_name, set_constant
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.products import looked_up
from onnxcompress.passes.pruning.trace import Labels, Trace, Use, array

Kept = dict[str, dict[int, list[int]]]


class Cut:
    """A decision, readable by list: which positions of an axis stay.

    Args:
        found: The trace.
        removed: One bool an atom's representative: True where the class goes.
    """

    def __init__(self, found: Trace, removed: np.ndarray) -> None:
        self.found = found
        self._removed = removed
        self._content = contents(found, self._removed)
        self.names = all_names(found.model)

    def keep(self, ids: Ids) -> np.ndarray:
        """True at the channels that stay, in the order of the uncut model."""
        roots = self.found.atoms.roots(ids)
        known = roots < len(self._removed)  # labels of constants that nobody asked for before are new
        return ~(known & self._removed[np.where(known, roots, 0)])

    def moved(self, ids: Ids) -> Ids:
        """The channels that stand at these positions when every row has brought its kept ones into the kept slots."""
        known = ids < len(self._content)
        return np.where(known, self._content[np.where(known, ids, 0)], ids)

    def stays(self, ids: Ids) -> np.ndarray:
        """True at the positions that stay; what stands there is told by `moved`."""
        return self.keep(self.moved(ids))

    def sizes(self, value: ir.Value | None) -> dict[int, tuple[int, int]]:
        """Axes of a tensor that are cut: their sizes before and after."""
        return self._changed(self.found.labels.get(value, []) if value is not None else [])

    def input_sizes(self, node: ir.Node, index: int) -> dict[int, tuple[int, int]]:
        """The same for a node's input, which may be a constant."""
        return self._changed(self.found.known(node, index))

    def _changed(self, labels: Labels) -> dict[int, tuple[int, int]]:
        masks = {axis: self.stays(ids) for axis, ids in enumerate(labels) if ids is not None}
        return {axis: (len(m), int(m.sum())) for axis, m in masks.items() if not m.all()}

    def shortens(self, use: Use) -> bool:
        """Whether a constant loses positions where it is used so."""
        return any(not self.keep(ids).all() for ids in use.lists())

    def touches(self, value: ir.Value) -> bool:
        """Whether a constant loses positions anywhere."""
        return any(use.value is value and self.shortens(use) for use in self.found.uses)

    def initializer(self, name: str, numbers: np.ndarray) -> ir.Value:
        """A new constant in the main graph."""
        return add_initializer(self.found.model.graph, fresh_name(self.names, name), numbers)


def cut_constants(cut: Cut) -> None:
    """Shorten every constant; a vector whose readers want different cuts is copied for each of them."""
    by_value: dict[ir.Value, list[Use]] = {}
    for use in cut.found.uses:
        by_value.setdefault(use.value, []).append(use)
    for value, uses in by_value.items():
        touched = [use for use in uses if cut.shortens(use)]
        if not touched:
            continue
        numbers = array(value)
        assert numbers is not None
        results = [sliced(cut, use, numbers) for use in touched]
        alone = touched[0].ports == [] or len(value.uses()) == sum(len(use.ports) for use in touched)
        if alone and all(np.array_equal(results[0], other) for other in results[1:]) and not value.is_graph_output():
            set_constant(value, results[0])
            continue
        for use, result in zip(touched, results, strict=True):
            fresh = cut.initializer(value.name or "constant", result)
            for node, index in use.ports or [(u.node, u.idx) for u in value.uses()]:
                node.replace_input_with(index, fresh)


def sliced(cut: Cut, use: Use, numbers: np.ndarray) -> np.ndarray:
    """The constant without the removed positions, the kept ones in the order of the cut model."""
    for axis, ids in use.blocks.items():
        numbers = _sliced_blocks(cut, ids, numbers, axis)
    for axis, ids in enumerate(use.labels):
        if ids is not None and not cut.keep(ids).all():
            numbers = numbers.take((cut.moved(ids) - ids[0])[cut.stays(ids)], axis=axis)
    return np.ascontiguousarray(numbers)


def _sliced_blocks(cut: Cut, ids: Ids, numbers: np.ndarray, axis: int) -> np.ndarray:
    """Each block of rows of axis 0 takes its own positions along `axis`."""
    length = numbers.shape[axis]
    blocks = len(ids) // length
    places = (cut.moved(ids) - ids[0])[cut.stays(ids)].reshape(blocks, -1) % length
    apart = numbers.reshape(blocks, -1, *numbers.shape[1:])
    shape = [-1 if a == axis + 1 else 1 for a in range(apart.ndim)]
    shape[0] = blocks
    taken = np.take_along_axis(apart, places.reshape(shape), axis=axis + 1)
    return taken.reshape(numbers.shape[0], *taken.shape[2:])


def update_shapes(cut: Cut) -> None:
    """Written shapes of tensors follow the cut."""
    for value, labels in cut.found.labels.items():
        if value.shape is None or len(value.shape) != len(labels):
            continue
        for axis, (_, after) in cut.sizes(value).items():
            if isinstance(value.shape[axis], int):
                shape = list(value.shape)
                shape[axis] = after
                value.shape = ir.Shape(shape)


def kept(cut: Cut, before: Kept) -> Kept:
    """Original positions kept, by name and axis of the main graph's tensors; `before` are those of an earlier cut."""
    result: Kept = {name: dict(axes) for name, axes in before.items()}
    joints = cut.found.joints
    for value, labels in cut.found.labels.items():
        kind = cut.found.dtype(value)
        if (
            kind is None
            or not kind.is_floating_point()
            or value in cut.found.constants
            or value.graph in cut.found.tables
        ):
            continue
        for axis in cut.sizes(value):
            ids = labels[axis]
            assert ids is not None
            if any(axis == j.free and not np.array_equal(cut.moved(j.ids), j.ids) for j in joints.get(value, ())):
                continue  # every row kept other positions
            old = result.get(value.name or "", {}).get(axis, list(range(len(ids))))
            result.setdefault(value.name or "", {})[axis] = [old[i] for i in _positions(cut, ids).tolist()]
    return result


def _positions(cut: Cut, ids: Ids) -> np.ndarray:
    """For each kept position the one where its channel stood before."""
    now = cut.moved(ids)
    before = np.empty(len(ids), np.int64)
    before[np.argsort(now, kind="stable")] = np.argsort(ids, kind="stable")
    return before[cut.stays(ids)]


def contents(found: Trace, removed: np.ndarray) -> Ids:
    """For each atom the one that stands in its place after every row has brought its kept channels into kept slots.

    Both the slots and a row's channels keep their order; classes trade places member by member.
    """
    atoms = found.atoms
    everyone = np.arange(len(atoms))
    result, roots = everyone.copy(), atoms.roots(everyone)
    members = np.argsort(roots, kind="stable")
    ordered = roots[members]
    for row in found.rows:
        gone, dropped = removed[row.slots], removed[row.contents]
        if np.array_equal(gone, dropped):
            continue
        source = np.empty(len(gone), np.int64)
        source[~gone], source[gone] = np.flatnonzero(~dropped), np.flatnonzero(dropped)
        _, mine = looked_up(ordered, members, row.contents)
        _, theirs = looked_up(ordered, members, row.contents[source])
        result[mine] = theirs
    return result


def all_lists(found: Trace) -> list[Ids]:
    """Every labelled axis once."""
    tensors: list[Labels] = [*found.labels.values(), *(list(use.lists()) for use in found.uses)]
    return [ids for labels in tensors for ids in labels if ids is not None]
