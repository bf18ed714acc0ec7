"""Axis equations of ops that look up, scatter or sample: the axes that are indexed stay, the others pass."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Labels, Trace

_INDEXED = "entries are looked up by data"


def gather_elements(found: Trace, node: ir.Node) -> None:
    """GatherElements: indices [..] and data agree on every axis but the indexed one."""
    data, indices = found.of(node, 0), found.of(node, 1)
    axis = int(attribute(node, "axis", 0)) % len(data)
    found.freeze([data[axis], indices[axis]], node, "PRUNE-FROZEN-OP", _INDEXED)
    result = [None if a == axis else _pair(found, node, data[a], indices[a]) for a in range(len(data))]
    found.put(node, 0, result)


def gather_nd(found: Trace, node: ir.Node) -> None:
    """GatherND: indices [b.., i.., k] look up k axes of data [b.., k.., rest]; the rest passes."""
    data, indices = found.of(node, 0), found.of(node, 1)
    batch, depth = int(attribute(node, "batch_dims", 0)), found.shape_of(node, 1)[-1]
    rest = data[batch + depth :]
    found.freeze([*data[batch : batch + depth], indices[-1]], node, "PRUNE-FROZEN-OP", _INDEXED)
    use = found.use_of(node, 0)
    if use is not None:
        use.linear = True
        for ids in rest:
            found.produce(node, "neuron", ids)
    shared = [_pair(found, node, data[a], indices[a]) for a in range(batch)]
    found.put(node, 0, [*shared, *indices[batch:-1], *rest])


def scatter_nd(found: Trace, node: ir.Node) -> None:
    """ScatterND: updates [i.., rest] go into data [k.., rest]; the rest passes."""
    data, indices, updates = (found.of(node, i) for i in range(3))
    depth = found.shape_of(node, 1)[-1]
    spread = len(indices) - 1
    found.freeze([*data[:depth], *indices, *updates[:spread]], node, "PRUNE-FROZEN-OP", _INDEXED)
    rest = [_pair(found, node, a, b) for a, b in zip(data[depth:], updates[spread:], strict=True)]
    found.put(node, 0, [*([None] * depth), *rest])


def scatter_elements(found: Trace, node: ir.Node) -> None:
    """ScatterElements and Scatter: indices, updates and data agree on every axis but the indexed one."""
    data, indices, updates = (found.of(node, i) for i in range(3))
    axis = int(attribute(node, "axis", 0)) % len(data)
    found.freeze([each[axis] for each in (data, indices, updates)], node, "PRUNE-FROZEN-OP", _INDEXED)
    result: Labels = []
    for a, ids in enumerate(data):
        lists = [ids, indices[a], updates[a]]
        result.append(None if a == axis or not any(i is not None for i in lists) else found.unify(node, *lists))
    found.put(node, 0, result)


def regions(found: Trace, node: ir.Node) -> None:
    """RoiAlign and MaxRoiPool: channels pass, all else is positions."""
    labels = found.of(node, 0)
    others = [ids for i in range(1, len(node.inputs)) if found.has(node, i) for ids in found.of(node, i)]
    found.freeze([labels[0], *labels[2:], *others], node, "PRUNE-FROZEN-OP", "regions are cut out of this axis")
    found.put(node, 0, [None, labels[1], *([None] * (len(labels) - 2))])


def sampled(found: Trace, node: ir.Node) -> None:
    """GridSample: channels pass, the grid names positions of the other axes."""
    labels = found.of(node, 0)
    found.freeze([*labels[2:], *found.of(node, 1)], node, "PRUNE-FROZEN-OP", "a grid names positions of this axis")
    found.put(node, 0, [*labels[:2], *([None] * (len(labels) - 2))])


def unpooled(found: Trace, node: ir.Node) -> None:
    """MaxUnpool: data and indices are of the same channels; the sizes are positions."""
    labels, indices = found.of(node, 0), found.of(node, 1)
    found.freeze([*labels[2:], *indices[2:]], node, "PRUNE-FROZEN-OP", "positions are looked up along this axis")
    ends = [_pair(found, node, labels[a], indices[a]) for a in (0, 1)]
    found.put(node, 0, [*ends, *([None] * (len(labels) - 2))])


def triangle(found: Trace, node: ir.Node) -> None:
    """Trilu: the last two axes are compared with each other, the others pass."""
    labels = found.of(node, 0)
    found.freeze(labels[-2:], node, "PRUNE-FROZEN-OP", "positions of this axis are compared with another's")
    found.put(node, 0, [*labels[:-2], None, None])


def reversed_sequence(found: Trace, node: ir.Node) -> None:
    """ReverseSequence: time and batch stay, the others pass."""
    labels = found.of(node, 0)
    found.freeze(labels[:2], node, "PRUNE-FROZEN-OP", "steps are put in another order")
    found.put(node, 0, [None, None, *labels[2:]])


def _pair(found: Trace, node: ir.Node, left: Ids | None, right: Ids | None) -> Ids | None:
    return None if left is None and right is None else found.unify(node, left, right)
