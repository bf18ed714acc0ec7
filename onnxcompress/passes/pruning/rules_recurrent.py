"""Axis equations of LSTM, GRU and RNN: all gates of one hidden unit, and both directions, share its atom.

W [dir, gates*H, I], R [dir, gates*H, H], B [dir, 2*gates*H], P [dir, 3*H]; gates follow each other in runs of H.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Trace

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(found: Trace, node: ir.Node) -> None:
    """One list of H atoms for the hidden units, whichever tensor they stand in."""
    gates, x = GATES[node.op_type], found.of(node, 0)
    w, r = found.of(node, 1), found.of(node, 2)
    sizes = found.shape_of(node, 2)
    hidden = r[2]
    found.freeze([*x[:2], w[0], r[0]], node, "PRUNE-FROZEN-OP", "it counts steps, samples or directions")
    if found.shape_of(node, 1)[2] > 1:
        found.unify(node, x[2], w[2])
    for index in (1, 2):
        use = found.use_of(node, index)
        if use is not None:
            use.linear = True
    if hidden is not None:
        found.unify(node, w[1], np.tile(hidden, gates))
        found.unify(node, r[1], np.tile(hidden, gates))
        _others(found, node, hidden, gates)
        found.produce(node, "neuron", hidden)
    inner = found.shape_of(node, 1)[2]
    found.term(node, inner / (inner + sizes[2]), x[2], hidden)
    found.term(node, sizes[2] / (inner + sizes[2]), hidden, hidden)
    _outputs(found, node, hidden)


def _others(found: Trace, node: ir.Node, hidden: Ids, gates: int) -> None:
    """Bias, initial states, peepholes."""
    if found.has(node, 3):
        found.unify(node, found.of(node, 3)[1], np.tile(hidden, 2 * gates))
    for index in (5, 6):
        if found.has(node, index):
            state = found.of(node, index)
            found.freeze(state[:2], node, "PRUNE-FROZEN-OP", "it counts directions or samples")
            found.unify(node, state[2], hidden)
    if found.has(node, 7):
        found.unify(node, found.of(node, 7)[1], np.tile(hidden, 3))


def _outputs(found: Trace, node: ir.Node, hidden: Ids | None) -> None:
    found.put(node, 0, [None, None, None, hidden])
    for index in (1, 2):
        found.put(node, index, [None, None, hidden])
