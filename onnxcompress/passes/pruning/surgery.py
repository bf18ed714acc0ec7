"""The cut: every labelled constant loses the removed positions, then sizes and attributes follow (`relabel`)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, fresh_name, set_constant
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Labels, Trace, Use, array

Kept = dict[str, dict[int, list[int]]]


class Cut:
    """A decision, readable by list: which positions of an axis stay.

    Args:
        found: The trace.
        removed: One bool an atom's representative: True where the class goes.
    """

    def __init__(self, found: Trace, removed: np.ndarray) -> None:
        self.found, self._removed = found, removed
        self.names = all_names(found.model)

    def keep(self, ids: Ids) -> np.ndarray:
        """True at the positions that stay."""
        return ~self._removed[self.found.atoms.roots(ids)]

    def sizes(self, value: ir.Value | None) -> dict[int, tuple[int, int]]:
        """Axes of a tensor that are cut: their sizes before and after."""
        return self._changed(self.found.labels.get(value, []) if value is not None else [])

    def input_sizes(self, node: ir.Node, index: int) -> dict[int, tuple[int, int]]:
        """The same for a node's input, which may be a constant."""
        return self._changed(self.found.known(node, index))

    def _changed(self, labels: Labels) -> dict[int, tuple[int, int]]:
        masks = {axis: self.keep(ids) for axis, ids in enumerate(labels) if ids is not None}
        return {axis: (len(m), int(m.sum())) for axis, m in masks.items() if not m.all()}

    def initializer(self, name: str, numbers: np.ndarray) -> ir.Value:
        """A new constant in the main graph."""
        return add_initializer(self.found.model.graph, fresh_name(self.names, name), numbers)


def cut_constants(cut: Cut) -> None:
    """Shorten every constant; a vector whose readers want different cuts is copied for each of them."""
    by_value: dict[ir.Value, list[Use]] = {}
    for use in cut.found.uses:
        by_value.setdefault(use.value, []).append(use)
    for value, uses in by_value.items():
        touched = [use for use in uses if _is_cut(cut, use)]
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


def _is_cut(cut: Cut, use: Use) -> bool:
    lists: Iterable[Ids | None] = [*use.labels, *(use.grouped[:1] if use.grouped else ())]
    return any(ids is not None and not cut.keep(ids).all() for ids in lists)


def sliced(cut: Cut, use: Use, numbers: np.ndarray) -> np.ndarray:
    """The constant without the removed positions."""
    if use.grouped is not None:
        return _sliced_blocks(cut, use, numbers)
    for axis, ids in enumerate(use.labels):
        if ids is not None:
            numbers = numbers.compress(cut.keep(ids), axis=axis)
    return np.ascontiguousarray(numbers)


def _sliced_blocks(cut: Cut, use: Use, numbers: np.ndarray) -> np.ndarray:
    """A grouped weight: block b keeps its own rows, and the columns that its own inputs keep."""
    assert use.grouped is not None
    inputs, groups = use.grouped
    out = use.labels[0]
    rows, columns = numbers.shape[0] // groups, numbers.shape[1]
    keep_rows = np.ones((groups, rows), bool) if out is None else cut.keep(out).reshape(groups, rows)
    keep_columns = np.ones((groups, columns), bool) if inputs is None else cut.keep(inputs).reshape(groups, columns)
    r = np.nonzero(keep_rows)[1].reshape(groups, -1)
    c = np.nonzero(keep_columns)[1].reshape(groups, -1)
    blocks = numbers.reshape(groups, rows, *numbers.shape[1:])
    picked = blocks[np.arange(groups)[:, None, None], r[:, :, None], c[:, None, :]]
    return np.ascontiguousarray(picked.reshape(-1, *picked.shape[2:]))


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
    """Original positions kept, by tensor name and axis; `before` are those of an earlier cut."""
    result: Kept = {name: dict(axes) for name, axes in before.items()}
    for value, labels in cut.found.labels.items():
        kind = cut.found.table.dtype(value.name)
        if kind is None or not kind.is_floating_point() or value in cut.found.constants:
            continue
        for axis in cut.sizes(value):
            ids = labels[axis]
            assert ids is not None
            old = result.get(value.name or "", {}).get(axis, list(range(len(ids))))
            result.setdefault(value.name or "", {})[axis] = [old[i] for i in np.flatnonzero(cut.keep(ids)).tolist()]
    return result


def all_lists(found: Trace) -> list[Ids]:
    """Every labelled axis once."""
    tensors: list[Labels] = [*found.labels.values(), *(use.labels for use in found.uses)]
    return [ids for labels in tensors for ids in labels if ids is not None]
