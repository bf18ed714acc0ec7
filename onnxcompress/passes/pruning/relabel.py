"""Sizes, bounds and indices that name a cut axis are computed anew from the labels; free sizes stay free."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, fresh_name, set_constant
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import array, constant_tensor

Change = dict[int, tuple[int, int]]
"""Entries of a size vector: position -> (size before, size after)."""


def relabel(cut: Cut) -> None:
    """Bring every node of the main graph in line with the cut."""
    nodes = [n for n in cut.found.model.graph if n.op_type in _FIXES and n.domain in ("", "ai.onnx")]
    # Shape comes last: until then every size vector is the one that the walk saw, of known length.
    for node in sorted(nodes, key=lambda n: n.op_type == "Shape"):
        _FIXES[node.op_type](cut, node)


def _group(cut: Cut, node: ir.Node) -> None:
    """Depthwise: one group a channel."""
    groups = int(attribute(node, "group", 1))
    before = cut.found.shape(node.inputs[0]) if node.inputs[0] is not None else None
    changed = cut.sizes(node.inputs[0]).get(1)
    if before is None or changed is None or groups == 1 or groups != before[1]:
        return
    node.attributes["group"] = ir.AttrInt64("group", changed[1])


def _hidden(cut: Cut, node: ir.Node) -> None:
    for index, output in enumerate(node.outputs):
        changed = cut.sizes(output).get(3 if index == 0 else 2)
        if changed is not None:
            node.attributes["hidden_size"] = ir.AttrInt64("hidden_size", changed[1])


def _target(cut: Cut, node: ir.Node) -> None:
    """Reshape, Expand, ConstantOfShape: entries of the shape that name a cut axis."""
    index = 0 if node.op_type == "ConstantOfShape" else 1
    change = cut.sizes(node.outputs[0])
    if not change:
        return
    if node.op_type == "Expand":
        given = cut.found.shape_of(node, 1)[0]
        rank = len(cut.found.shape(node.outputs[0]) or ())
        # An entry of one follows the data; an entry left out as well.
        change = {axis - (rank - given): sizes for axis, sizes in change.items() if axis >= rank - given}
        numbers = array(node.inputs[1])
        change = {a: s for a, s in change.items() if numbers is None or int(numbers[a]) != 1}
    elif node.op_type == "Reshape" and constant_tensor(node.inputs[1]) is None:
        static = _static_target(cut, node, change)
        if static is not None:
            node.replace_input_with(1, cut.initializer(f"{node.outputs[0].name}_shape", static))
            return
    _scale(cut, node, index, change, follow=node.op_type == "Reshape" and not attribute(node, "allowzero", 0))


def _static_target(cut: Cut, node: ir.Node, change: Change) -> np.ndarray | None:
    """A computed target as constants with one -1, where at most one size is free."""
    dims = cut.found.table.dims(node.outputs[0].name)
    if dims is None:
        return None
    free = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int)]
    if len(free) > 1:
        return None
    sizes = [-1 if axis in free else change.get(axis, (0, int(dim or 0)))[1] for axis, dim in enumerate(dims)]
    return None if 0 in sizes else np.array(sizes, np.int64)


def _scale(cut: Cut, node: ir.Node, index: int, change: Change, *, follow: bool = False) -> None:
    """Rewrite entries of a size vector; `follow` leaves 0 and -1, which find their size themselves."""
    value = node.inputs[index]
    numbers = array(value)
    if numbers is not None:
        new = numbers.copy()
        for at, (old, now) in change.items():
            if not (follow and new[at] in (0, -1)):
                new[at] = new[at] * now // old
        write(cut, node, index, new)
        return
    total = cut.found.shape_of(node, index)[0]
    seen = cut.found.concrete(node, index) if follow else None
    factor, divisor = np.ones(total, np.int64), np.ones(total, np.int64)
    for at, (old, now) in change.items():
        if seen is None or seen[at] not in (0, -1):
            factor[at], divisor[at] = now, old
    if (factor == divisor).all():
        return
    node.replace_input_with(index, scaled(cut, node, value, factor, divisor))


def scaled(
    cut: Cut, at: ir.Node, value: ir.Value | None, factor: np.ndarray, divisor: np.ndarray, *, after: bool = False
) -> ir.Value:
    """Value * factor / divisor, computed before (or after) the node `at`, so that free sizes stay free."""
    name = (value.name if value is not None else "") or "size"
    times = _node(cut, at, "Mul", [value, cut.initializer(f"{name}_kept", factor)], f"{name}_times", after=after)
    made = times.producer()
    assert made is not None
    whole = cut.initializer(f"{name}_whole", divisor)
    return _node(cut, made if after else at, "Div", [times, whole], f"{name}_cut", after=after)


def _node(cut: Cut, at: ir.Node, op: str, inputs: list[ir.Value | None], name: str, *, after: bool = False) -> ir.Value:
    output = ir.Value(name=fresh_name(cut.names, name), type=ir.TensorType(ir.DataType.INT64))
    node = ir.Node("", op, inputs, name=fresh_name(cut.names, f"{name}_node"), outputs=[output])
    assert at.graph is not None
    if after:
        at.graph.insert_after(at, node)
    else:
        at.graph.insert_before(at, node)
    return output


def write(cut: Cut, node: ir.Node, index: int, numbers: np.ndarray) -> None:
    """Give an input other numbers; a constant that others read as well is copied."""
    value = node.inputs[index]
    if value is not None and len(value.uses()) == 1 and constant_tensor(value) is not None:
        set_constant(value, numbers)
    else:
        name = f"{node.outputs[0].name}_{index}"
        node.replace_input_with(index, cut.initializer(name, numbers))


def _split(cut: Cut, node: ir.Node) -> None:
    data = node.inputs[0]
    shape = cut.found.shape(data) if data is not None else None
    if shape is None:
        return
    axis = int(attribute(node, "axis", 0)) % len(shape)
    if axis not in cut.input_sizes(node, 0):
        return
    sizes = [cut.sizes(v).get(axis, (0, (cut.found.shape(v) or shape)[axis]))[1] for v in node.outputs]
    node.attributes.pop("num_outputs", None)
    if cut.found.model.graph.opset_imports.get("", 13) < 13:
        node.attributes["split"] = ir.AttrInt64s("split", sizes)
    elif len(node.inputs) > 1 and node.inputs[1] is not None:
        write(cut, node, 1, np.array(sizes, np.int64))
    else:
        node.resize_inputs(2)
        node.replace_input_with(1, cut.initializer(f"{node.outputs[0].name}_split", np.array(sizes, np.int64)))


def _slice(cut: Cut, node: ir.Node) -> None:
    """Bounds on a cut axis become those of the kept channels; uneven picks become a Gather before."""
    data = node.inputs[0]
    shape = cut.found.shape(data) if data is not None else None
    if shape is None or not (changed := cut.input_sizes(node, 0)):
        return
    axes = [int(a) % len(shape) for a in _listed(cut, node, "axes", 3, range(len(shape)))]
    starts = [int(v) for v in _listed(cut, node, "starts", 1, ())]
    ends = [int(v) for v in _listed(cut, node, "ends", 2, ())]
    steps = [int(v) for v in _listed(cut, node, "steps", 4, [1] * len(axes))]
    new: dict[int, tuple[int, int]] = {}
    for at, axis in enumerate(axes[: len(starts)]):
        if axis in changed:
            ids = cut.found.known(node, 0)[axis]
            assert ids is not None
            rank = np.concatenate([[0], np.cumsum(cut.keep(ids))])
            begin, stop, step = slice(starts[at], ends[at], steps[at]).indices(len(ids))
            if step != 1:
                picked = np.arange(len(ids))[slice(starts[at], ends[at], steps[at])]
                _pick(cut, node, axis, rank[picked[cut.keep(ids[picked])]])
                new[at] = (0, np.iinfo(np.int64).max)
                _set_entries(cut, node, "steps", 4, {at: 1})
            else:
                new[at] = (int(rank[begin]), int(rank[max(begin, stop)]))
    _set_entries(cut, node, "starts", 1, {at: pair[0] for at, pair in new.items()})
    _set_entries(cut, node, "ends", 2, {at: pair[1] for at, pair in new.items()})


def _listed(cut: Cut, node: ir.Node, name: str, index: int, default: range | list[int] | tuple[()]) -> list[int]:
    given = attribute(node, name)
    if given is None and cut.found.has(node, index):
        given = cut.found.concrete(node, index)
    return list(default if given is None else given)


def _pick(cut: Cut, node: ir.Node, axis: int, positions: np.ndarray) -> None:
    indices = cut.initializer(f"{node.outputs[0].name}_channels", positions.astype(np.int64))
    value = _node(cut, node, "Gather", [node.inputs[0], indices], f"{node.outputs[0].name}_picked")
    producer = value.producer()
    assert producer is not None
    producer.attributes["axis"] = ir.AttrInt64("axis", axis)
    value.type = node.inputs[0].type if node.inputs[0] is not None else None
    node.replace_input_with(0, value)


def _set_entries(cut: Cut, node: ir.Node, name: str, index: int, entries: dict[int, int]) -> None:
    if not entries:
        return
    if name in node.attributes:
        listed = list(node.attributes[name].value)
        for at, number in entries.items():
            listed[at] = number
        node.attributes[name] = ir.AttrInt64s(name, listed)
        return
    value = node.inputs[index] if index < len(node.inputs) else None
    numbers = array(value)
    if value is None:
        return
    if numbers is not None:
        new = numbers.astype(np.int64)
        for at, number in entries.items():
            new[at] = number
        write(cut, node, index, new)
        return
    total = cut.found.shape_of(node, index)[0]
    mask, new = np.zeros(total, bool), np.zeros(total, np.int64)
    for at, number in entries.items():
        mask[at], new[at] = True, number
    chosen = [cut.initializer(f"{value.name}_mask", mask), cut.initializer(f"{value.name}_kept", new), value]
    node.replace_input_with(index, _node(cut, node, "Where", list(chosen), f"{value.name}_cut"))


def _gather(cut: Cut, node: ir.Node) -> None:
    """Constant indices into a cut axis become the new positions of what is kept."""
    data = node.inputs[0]
    rank = len(cut.found.shape(data) or ()) if data is not None else 0
    if data is None or not rank:
        return
    axis = int(attribute(node, "axis", 0)) % rank
    ids = cut.found.known(node, 0)[axis]
    indices = cut.found.concrete(node, 1)
    if ids is None or indices is None or cut.keep(ids).all():
        return
    out = cut.found.labels[node.outputs[0]]
    masks = [np.ones(n, bool) if (o := out[axis + a]) is None else cut.keep(o) for a, n in enumerate(indices.shape)]
    picked = indices[np.ix_(*masks)] if indices.ndim else indices
    position = np.cumsum(cut.keep(ids)) - 1
    write(cut, node, 1, np.asarray(position[picked % len(ids)], indices.dtype))


def _resize(cut: Cut, node: ir.Node) -> None:
    change = cut.sizes(node.outputs[0])
    if node.op_type == "Resize" and change and cut.found.has(node, 3):
        axes = attribute(node, "axes")
        at = {axis: i for i, axis in enumerate(axes)} if axes is not None else {a: a for a in change}
        _scale(cut, node, 3, {at[a]: sizes for a, sizes in change.items() if a in at})


def _shape(cut: Cut, node: ir.Node) -> None:
    """What is computed from sizes goes on seeing the sizes as they were; each user of a size was put right above."""
    data = node.inputs[0]
    change = cut.sizes(data)
    if data is None or not change:
        return
    rank = len(cut.found.shape(data) or ())
    first = int(attribute(node, "start", 0))
    last = int(attribute(node, "end", rank))
    span = list(range(rank))[slice(first, last)]
    shown = {span.index(axis): sizes for axis, sizes in change.items() if axis in span}
    readers = [use for use in node.outputs[0].uses() if not _misses(use.node, set(shown))]
    if not shown or not readers:
        return
    factor, divisor = np.ones(len(span), np.int64), np.ones(len(span), np.int64)
    for at, (old, now) in shown.items():
        factor[at], divisor[at] = old, now
    value = scaled(cut, node, node.outputs[0], factor, divisor, after=True)
    for use in readers:
        use.node.replace_input_with(use.idx, value)


def _misses(reader: ir.Node, entries: set[int]) -> bool:
    """True for a Gather of entries that are not cut."""
    indices = array(reader.inputs[1]) if reader.op_type == "Gather" else None
    return indices is not None and not entries & {int(i) for i in np.ravel(indices)} and bool((indices >= 0).all())


_FIXES: Mapping[str, Callable[[Cut, ir.Node], None]] = {
    "Conv": _group,
    "ConvTranspose": _group,
    "LSTM": _hidden,
    "GRU": _hidden,
    "RNN": _hidden,
    "Reshape": _target,
    "Expand": _target,
    "ConstantOfShape": _target,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Resize": _resize,
    "Shape": _shape,
}
