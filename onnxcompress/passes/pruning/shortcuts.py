"""Shuffles: a few movement ops after which each result is just a pick of channels.

Reshape, Transpose, Reshape (and Split or Gather) deal the channels out anew; cut as they are, they would tie channels
that have nothing to do with each other, more of them with every shuffle. Here the walk looks ahead: it labels the first
tensor alone, walks the movement ops behind it, and where all of them end in picks along one axis, the channels stay
independent. In the cut model each pick is one Gather; uncut, the nodes stay as they are.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.products import Joint, Pick
from onnxcompress.passes.pruning.trace import Labels, Trace

LOOK_AHEAD = 16
"""Most nodes of a shuffle."""

_OPS = ("Flatten", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")


def shortened(found: Trace, node: ir.Node) -> bool:
    """Label the ends of the shuffle that starts at `node`; False where none does."""
    source = node.inputs[0]
    if source is None or node.op_type != "Reshape" or source not in found.labels:
        return False
    if all(ids is None for ids in found.labels[source]) or not _divides(found, node):
        return False
    scratch = Trace(found.model, found.table, set(), set(), found.rules, found.tables)
    base: Labels = [scratch.atoms.fresh(n) if n > 1 else None for n in found.shape_of(node, 0)]
    scratch.labels[source] = base
    inner: set[ir.Node] = set()
    picks: dict[ir.Value, Pick] = {}
    waiting = [node]
    while waiting:
        step = waiting.pop(0)
        if step.op_type not in _OPS or len(inner) == LOOK_AHEAD or not _walk(scratch, step):
            return False
        inner.add(step)
        for output in step.outputs:
            pick = _pick(scratch, source, base, output)
            if pick is not None:
                picks[output] = pick
            elif output.is_graph_output() or not output.uses():
                return False
            else:
                waiting += [use.node for use in output.uses() if use.node not in inner and use.node not in waiting]
    for value, pick in picks.items():
        _label(found, value, pick)
    found.shortened.update(inner)
    return True


def _divides(found: Trace, node: ir.Node) -> bool:
    """Whether some labelled axis has another size afterwards; most reshapes of channels do not start a shuffle."""
    before, after = found.shape_of(node, 0), found.shape(node.outputs[0]) or ()
    sizes = [n for n, ids in zip(before, found.of(node, 0), strict=True) if ids is not None]
    return any(n not in after for n in sizes)


def _walk(scratch: Trace, node: ir.Node) -> bool:
    if any(v is not None and scratch.shape(v) is None for v in (*node.inputs, *node.outputs)):
        return False
    if node.inputs[0] not in scratch.labels:
        return False
    scratch.rules[node.op_type](scratch, node)
    return all(output in scratch.labels for output in node.outputs)


def _pick(scratch: Trace, source: ir.Value, base: Labels, value: ir.Value) -> Pick | None:
    """What a tensor of the shuffle takes of its source; None where that is not a pick along one axis."""
    labels, before, after = scratch.labels[value], scratch.shape(source) or (), scratch.shape(value) or ()
    if len(labels) != len(base) or scratch.joints.get(value):
        return None
    found: list[Pick] = []
    for axis, (ids, own) in enumerate(zip(labels, base, strict=True)):
        if ids is None or own is None:
            if before[axis] != after[axis] or (ids is None) != (own is None):
                return None
        elif not np.array_equal(ids, own):
            indices = ids - own[0]
            if indices.min() < 0 or indices.max() >= len(own):
                return None
            found.append(Pick(source, axis, indices))
    return found[0] if len(found) == 1 else None


def _label(found: Trace, value: ir.Value, pick: Pick) -> None:
    labels = list(found.labels[pick.source])
    ids = labels[pick.axis]
    labels[pick.axis] = None if ids is None else ids[pick.indices]
    found.labels[value] = labels
    found.shortcuts[value] = pick
    found.joints[value] = tuple(_taken(joint, pick) for joint in found.joints.get(pick.source, ()))


def _taken(joint: Joint, pick: Pick) -> Joint:
    if pick.axis not in joint.axes:
        return joint
    return Joint(joint.ids.take(pick.indices, joint.axes.index(pick.axis)), joint.axes, joint.free)
