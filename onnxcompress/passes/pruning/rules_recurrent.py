"""Axis equations of LSTM, GRU and RNN: all gates of a hidden unit share its atom; each direction has units of its own.

W [dir, gates*H, I], R [dir, gates*H, H], B [dir, 2*gates*H], P [dir, 3*H]; gates follow each other in runs of H. Both
directions have one `hidden_size`: they keep equal counts, of which each chooses its own.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.products import Joint
from onnxcompress.passes.pruning.trace import Labels, Trace, constant_tensor

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(found: Trace, node: ir.Node) -> None:
    """One list of H atoms a direction, whichever tensor they stand in."""
    gates, x = GATES[node.op_type], found.of(node, 0)
    directions, _, size = found.shape_of(node, 2)
    inner = found.shape_of(node, 1)[2]
    found.freeze(x[:2], node, "PRUNE-FROZEN-OP", "it counts steps or samples")
    for index in (1, 2):
        use = found.use_of(node, index)
        if use is not None:
            use.linear = True
    if inner > 1:
        found.unify(node, x[2], found.of(node, 1)[2])
    units = found.atoms.fresh(directions * size).reshape(directions, size)
    found.produce(node, "neuron", units.ravel())
    slots = _slots(found, node, units)
    _parameters(found, node, units, gates)
    _states(found, node, units, slots)
    found.term(node, inner / (inner + size), x[2], slots)
    found.term(node, size / (inner + size), slots, slots)
    _outputs(found, node, units, slots)


def _slots(found: Trace, node: ir.Node, units: np.ndarray) -> np.ndarray:
    """The atoms of `hidden_size`: the units of the only direction, or what both directions are counted by."""
    if len(units) == 1:
        return units[0]
    lists = found.divide(units)
    assert lists is not None
    found.freeze(lists[:1], node, "PRUNE-FROZEN-OP", "it counts directions")
    return lists[1]


def _parameters(found: Trace, node: ir.Node, units: np.ndarray, gates: int) -> None:
    """Weights, biases and peepholes along their axes of hidden units."""
    copies = {(1, 1): gates, (2, 1): gates, (2, 2): 1, (3, 1): 2 * gates, (7, 1): 3}
    for (index, axis), times in copies.items():
        if found.has(node, index):
            _cut_by_direction(found, node, index, axis, np.tile(units, (1, times)))


def _cut_by_direction(found: Trace, node: ir.Node, index: int, axis: int, units: np.ndarray) -> None:
    """Let axis `axis` of a parameter [dir, ...] carry `units` [dir, length]."""
    labels = found.of(node, index)
    use = found.use_of(node, index)
    if len(units) == 1:
        found.unify(node, units[0], labels[axis])
    elif use is None or len(use.value.uses()) > 1:
        found.freeze([units.ravel(), *labels], node, "PRUNE-FROZEN-PARTNER", "a parameter is shared or computed")
    else:
        found.freeze(labels[:1], node, "PRUNE-FROZEN-OP", "it counts directions")
        use.labels[axis], use.blocks[axis] = None, found.atoms.fresh(units.size)
        found.unify(node, units.ravel(), use.blocks[axis])


def _states(found: Trace, node: ir.Node, units: np.ndarray, slots: np.ndarray) -> None:
    """Initial states [dir, batch, H]: constants are cut by direction; equal numbers need no order."""
    for index in (5, 6):
        value = node.inputs[index] if found.has(node, index) else None
        if value is None:
            continue
        if constant_tensor(value) is not None and len(value.uses()) == 1 and not attribute(node, "layout", 0):
            _cut_by_direction(found, node, index, 2, units)
            continue
        state = found.of(node, index)
        found.freeze(state[:2], node, "PRUNE-FROZEN-OP", "it counts directions or samples")
        found.unify(node, state[2], slots)
        _meet_rows(found, node, index, units)


def _meet_rows(found: Trace, node: ir.Node, index: int, units: np.ndarray) -> None:
    along = 1 if attribute(node, "layout", 0) else 0
    joints = [j for j in found.joints_of(node, index) if j.axes == (along, 2) and j.ids.shape == units.shape]
    if joints:
        found.atoms.unify(joints[0].ids.ravel(), units.ravel())
    elif node.inputs[index] not in found.uniform and len(units) > 1:
        found.pin([Joint(units, (along, 2), 2), *found.joints_of(node, index)])


def _outputs(found: Trace, node: ir.Node, units: np.ndarray, slots: np.ndarray) -> None:
    """Y [steps, dir, batch, H], Y_h and Y_c [dir, batch, H]; with layout 1 batch first, [batch, (steps,) dir, H]."""
    first = bool(attribute(node, "layout", 0))
    for index, output in enumerate(node.outputs):
        rank = 4 if index == 0 else 3
        labels: Labels = [*([None] * (rank - 1)), slots]
        found.put(node, index, labels)
        axis = rank - 2 if first else rank - 3
        if len(units) > 1 and output.name:
            found.joints[output] = (Joint(units, (axis, rank - 1), rank - 1),)
