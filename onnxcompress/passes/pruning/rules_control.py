"""Axis equations of If, Loop and Scan: the walk goes through their bodies.

Labels flow in through what a body captures. A state is one list outside, at the body's start and at its end; results of
branches are one list; what is scanned loses the axis that is walked along, and what is collected gains one.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxcompress.errors import CompressError
from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.body import CONDITION, TRIP, Start, body_table, start_of
from onnxcompress.passes.pruning.trace import Labels, Trace
from onnxcompress.passes.pruning.walk import freeze_all, step


def branches(found: Trace, node: ir.Node) -> None:
    """If: both branches yield one list."""
    bodies = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
    if not all(_enter(found, body, []) for body in bodies):
        freeze_all(found, node)
        return
    for index in range(len(node.outputs)):
        found.put(node, index, _one(found, node, [_end(found, body, index) for body in bodies]))


def loop(found: Trace, node: ir.Node) -> None:
    """Loop: states, then what each trip yields, stacked in front."""
    body = node.attributes["body"].as_graph()
    states = [start_of(found, node, i) for i in range(2, len(node.inputs))]
    if not _enter(found, body, [TRIP, CONDITION, *states]):
        freeze_all(found, node)
        return
    for index in range(len(node.outputs)):
        end = _end(found, body, 1 + index)
        if index < len(states):
            found.put(node, index, _one(found, node, [states[index].labels, end]))
        else:
            found.put(node, index, [None, *end])


def scan(found: Trace, node: ir.Node) -> None:
    """Scan: states, and tensors that are walked along one axis."""
    body, scanned = node.attributes["body"].as_graph(), int(attribute(node, "num_scan_inputs", 0))
    states = len(node.inputs) - scanned
    starts = [start_of(found, node, i) for i in range(len(node.inputs))]
    axes = attribute(node, "scan_input_axes", [0] * scanned)
    for at, start in enumerate(starts[states:]):
        axis = axes[at] % len(start.size)
        found.freeze([start.labels[axis]], node, "PRUNE-FROZEN-OP", "Scan walks along this axis")
        starts[states + at] = start.without(axis)
    if found.model.graph.opset_imports.get("", 9) < 9 or not _enter(found, body, starts):
        freeze_all(found, node)
        return
    places = attribute(node, "scan_output_axes", [0] * len(node.outputs))
    for index in range(len(node.outputs)):
        end = _end(found, body, index)
        if index < states:
            found.put(node, index, _one(found, node, [starts[index].labels, end]))
        else:
            at = places[index - states] % (len(end) + 1)
            found.put(node, index, [*end[:at], None, *end[at:]])


def _enter(found: Trace, body: ir.Graph, starts: Sequence[Start]) -> bool:
    """Walk a body; False where its sizes cannot be found out."""
    if len(starts) != len(body.inputs):
        return False
    try:
        table = body_table(found, body, starts)
    except CompressError:
        return False
    if table is None:
        return False
    found.tables[body] = table
    for value, start in zip(body.inputs, starts, strict=True):
        # A list of one position cannot be cut; outside it is fixed as well.
        found.labels[value] = [None if ids is None or len(ids) == 1 else ids for ids in start.labels]
    for node in body:
        step(found, node)
    return True


def _end(found: Trace, body: ir.Graph, index: int) -> Labels:
    """Labels of what a body yields; those of a constant are fixed. Rows that chose for themselves no longer do."""
    value = body.outputs[index]
    found.pin(found.joints.get(value, ()))
    return found.labels.get(value) or [None] * len(found.shape(value) or ())


def _one(found: Trace, node: ir.Node, ends: Sequence[Labels]) -> Labels:
    """The one list of tensors that are the same tensor at different times."""
    if len({len(labels) for labels in ends}) > 1:
        for labels in ends:
            found.freeze(labels, node, "PRUNE-FROZEN-PARTNER", "it meets a tensor of another rank")
        return [None] * max(len(labels) for labels in ends)
    return [
        None if all(ids is None for ids in lists) else found.unify(node, *lists) for lists in zip(*ends, strict=True)
    ]
