"""Sizes, bounds and indices that name a cut axis are computed anew from the labels; free sizes stay free."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.relabel_picks import fix_gather, fix_pad, fix_shuffles, fix_slice, fix_split
from onnxcompress.passes.pruning.rewrite import hand_out, scaled, write
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import array, constant_tensor

Change = dict[int, tuple[int, int]]
"""Entries of a size vector: position -> (size before, size after)."""


def relabel(cut: Cut) -> None:
    """Bring every node in line with the cut, those of bodies too."""
    nodes = [
        n
        for n in cut.found.model.graph.all_nodes()
        if n.op_type in _FIXES and n.domain in ("", "ai.onnx", "com.microsoft")
    ]
    # Shape comes last: until then every size vector is the one that the walk saw, of known length.
    for node in sorted(nodes, key=lambda n: n.op_type == "Shape"):
        if node not in cut.found.shortened:
            _FIXES[node.op_type](cut, node)
    fix_shuffles(cut)


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
    index = {"ConstantOfShape": 0, "MaxUnpool": 2}.get(node.op_type, 1)
    change = cut.sizes(node.outputs[0])
    if not change or not cut.found.has(node, index):
        return
    if node.op_type == "Expand":
        given = cut.found.shape_of(node, 1)[0]
        rank = len(cut.found.shape(node.outputs[0]) or ())
        # An entry of one follows the data; an entry left out as well.
        change = {axis - (rank - given): sizes for axis, sizes in change.items() if axis >= rank - given}
        numbers = cut.found.concrete(node, 1)
        change = {a: s for a, s in change.items() if numbers is None or int(numbers[a]) != 1}
    elif node.op_type == "Reshape" and constant_tensor(node.inputs[1]) is None:
        static = _static_target(cut, node, change)
        if static is not None:
            node.replace_input_with(1, cut.initializer(f"{node.outputs[0].name}_shape", static))
            return
    copied = () if attribute(node, "allowzero", 0) else (0,)
    follows = (-1, *copied) if node.op_type == "Reshape" else ()
    _scale(cut, node, index, change, follows)


def _static_target(cut: Cut, node: ir.Node, change: Change) -> np.ndarray | None:
    """A computed target as constants with one -1, where at most one size is free."""
    dims = cut.found.dims(node.outputs[0])
    if dims is None:
        return None
    free = [axis for axis, dim in enumerate(dims) if not isinstance(dim, int)]
    if len(free) > 1:
        return None
    sizes = [-1 if axis in free else change.get(axis, (0, int(dim or 0)))[1] for axis, dim in enumerate(dims)]
    return None if 0 in sizes else np.array(sizes, np.int64)


def _scale(cut: Cut, node: ir.Node, index: int, change: Change, follows: tuple[int, ...] = ()) -> None:
    """Rewrite entries of a size vector, but for those that find their size themselves (`follows`)."""
    value = node.inputs[index]
    numbers = array(value)
    if numbers is not None:
        new = numbers.copy()
        for at, (old, now) in change.items():
            if new[at] not in follows:
                new[at] = new[at] * now // old
        write(cut, node, index, new)
        return
    total = cut.found.shape_of(node, index)[0]
    seen = cut.found.concrete(node, index) if follows else None
    factor, divisor = np.ones(total, np.int64), np.ones(total, np.int64)
    for at, (old, now) in change.items():
        if seen is None or seen[at] not in follows:
            factor[at], divisor[at] = now, old
    if (factor == divisor).all():
        return
    node.replace_input_with(index, scaled(cut, node, value, factor, divisor))


def _resize(cut: Cut, node: ir.Node) -> None:
    change = cut.sizes(node.outputs[0])
    if node.op_type == "Resize" and change and cut.found.has(node, 3):
        axes = attribute(node, "axes")
        at = {axis: i for i, axis in enumerate(axes)} if axes is not None else {a: a for a in change}
        _scale(cut, node, 3, {at[a]: sizes for a, sizes in change.items() if a in at})


def _shape(cut: Cut, node: ir.Node) -> None:
    """What is computed from sizes goes on seeing the sizes as they were; each user of a size was put right above."""
    data = node.inputs[0]
    if data is None:
        return
    rank = len(cut.found.shape(data) or ())
    span = list(range(rank))[slice(int(attribute(node, "start", 0)), int(attribute(node, "end", rank)))]
    if constant_tensor(data) is not None:
        if cut.touches(data):
            _replace(node, cut.initializer(f"{data.name}_sizes", np.array(cut.found.shape(data), np.int64)[span]))
        return
    shown = {span.index(axis): sizes for axis, sizes in cut.sizes(data).items() if axis in span}
    if not shown:
        return
    readers = [use for use in node.outputs[0].uses() if not _misses(use.node, set(shown))]
    if not readers and not node.outputs[0].is_graph_output():
        return
    factor, divisor = np.ones(len(span), np.int64), np.ones(len(span), np.int64)
    for at, (old, now) in shown.items():
        factor[at], divisor[at] = old, now
    value = scaled(cut, node, node.outputs[0], factor, divisor, after=True)
    for use in readers:
        use.node.replace_input_with(use.idx, value)
    if node.outputs[0].is_graph_output():
        hand_out(node.outputs[0], value)


def _replace(node: ir.Node, value: ir.Value) -> None:
    """Let everybody read `value` instead of a node's output; a graph output keeps its node."""
    if not node.outputs[0].is_graph_output():
        for use in list(node.outputs[0].uses()):
            use.node.replace_input_with(use.idx, value)
        return
    node.op_type, node.domain = "Identity", ""
    node.attributes.clear()
    node.replace_input_with(0, value)


def _misses(reader: ir.Node, entries: set[int]) -> bool:
    """True for a Gather of entries that are not cut."""
    indices = array(reader.inputs[1]) if reader.op_type == "Gather" else None
    return indices is not None and not entries & {int(i) for i in np.ravel(indices)} and bool((indices >= 0).all())


_FIXES: Mapping[str, Callable[[Cut, ir.Node], None]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "FusedConv", "QLinearConv"), _group),
    "LSTM": _hidden,
    "GRU": _hidden,
    "RNN": _hidden,
    "Pad": fix_pad,
    "Reshape": _target,
    "Expand": _target,
    "ConstantOfShape": _target,
    "MaxUnpool": _target,
    "Split": fix_split,
    "Slice": fix_slice,
    "Gather": fix_gather,
    "Resize": _resize,
    "Shape": _shape,
}
