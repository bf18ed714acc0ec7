"""Recurrent nodes (LSTM, GRU, RNN) taken apart: weights, states over time, and what their gates see.

Every gate's pre-activation is linear in the step's input and the state before it,

    a_t = x_t W^T + h_{t-1} R^T + b,                       (LSTM, RNN, and GRU's gates z and r)
    n_t = x_t W^T + b_W + r_t * (h_{t-1} R^T + b_R)        (GRU's candidate, linear_before_reset = 1)
    n_t = x_t W^T + b_W + (r_t * h_{t-1}) R^T + b_R        (GRU's candidate otherwise)

(peepholes come on top and are left as they are). Once the states h are known, all steps are one matrix product. The
states come from one run of the node by itself, with Y as its output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.slots import Slot, slot_of
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_NAMES = ("x", "w", "r", "b", "lengths", "h", "c", "p")


@dataclass(frozen=True)
class Weights:
    """W [directions, gates * hidden, inputs], R [.., gates * hidden, hidden], B [.., 2 gates * hidden]."""

    w: np.ndarray
    r: np.ndarray
    b: np.ndarray

    @property
    def hidden(self) -> int:
        """Number of units."""
        return self.r.shape[2]


@dataclass(frozen=True)
class Inputs:
    """What a recurrent node reads besides its weights, in one batch.

    Attributes:
        x: [steps, samples, inputs].
        lengths: Steps of each sample; None for all.
        h: Initial state [directions, samples, hidden]; None for zero.
        c: Initial cell state, likewise.
    """

    x: np.ndarray
    lengths: np.ndarray | None = None
    h: np.ndarray | None = None
    c: np.ndarray | None = None

    def valid(self) -> np.ndarray:
        """True at steps that belong to their sample, [steps, samples]."""
        steps, samples = self.x.shape[:2]
        if self.lengths is None:
            return np.ones((steps, samples), bool)
        return np.arange(steps)[:, None] < self.lengths[None, :]


@dataclass(frozen=True)
class Cell:
    """One recurrent node.

    Attributes:
        node: The node.
        index: Its place in topological order.
        slots: Where W, R and B lie; B is None where the node has none.
    """

    node: ir.Node
    index: int
    slots: tuple[Slot, Slot, Slot | None]

    @property
    def gates(self) -> int:
        """Gates of a unit."""
        return GATES[self.node.op_type]

    @property
    def resets_after(self) -> bool:
        """GRU's linear_before_reset."""
        return bool(graph.attribute(self.node, "linear_before_reset", 0))

    def reverse(self, direction: int) -> bool:
        """Whether a direction runs from the last step to the first."""
        return direction == 1 or str(graph.attribute(self.node, "direction", "forward")) == "reverse"

    def reads(self) -> dict[str, str]:
        """Names of the tensors it reads by role (x, lengths, h, c), constants among them."""
        roles = {0: "x", 4: "lengths", 5: "h", 6: "c"}
        found = {role: self.node.inputs[i] for i, role in roles.items() if i < len(self.node.inputs)}
        return {role: value.name or "" for role, value in found.items() if value is not None}

    def constants(self) -> dict[str, np.ndarray]:
        """Those of `reads` that are constants."""
        places = {"lengths": 4, "h": 5, "c": 6}
        slots = {role: slot_of(self.node, i) for role, i in places.items()}
        return {role: slot.read() for role, slot in slots.items() if slot is not None}

    def weights(self) -> Weights:
        """As they are now, float64."""
        w, r = (slot.read().astype(np.float64) for slot in self.slots[:2])
        bias = self.slots[2]
        b = np.zeros((len(w), 2 * w.shape[1])) if bias is None else bias.read().astype(np.float64)
        return Weights(w, r, b)

    def store(self, weights: Weights) -> None:
        """Write weights back, in their own dtype; a node without bias gets one."""
        for slot, array in zip(self.slots, (weights.w, weights.r, weights.b), strict=True):
            if slot is not None:
                slot.write(array)
        if self.slots[2] is None:
            owner, slot = self.node.graph, self.slots[0]
            assert isinstance(owner, ir.Graph)
            name = graph.fresh_name(set(owner.initializers), f"{slot.source.name}_bias")
            if len(self.node.inputs) < 4:
                self.node.resize_inputs(4)
            fresh = graph.add_initializer(owner, name, weights.b.astype(slot.read().dtype))
            self.node.replace_input_with(3, fresh)


def cell_of(node: ir.Node, index: int) -> Cell | str:
    """The node as a recurrent cell, or the reason why it is not refitted (empty: another operator)."""
    if node.op_type not in GATES or node.domain not in ("", "ai.onnx"):
        return ""
    w, r = slot_of(node, 1), slot_of(node, 2)
    has_bias = len(node.inputs) > 3 and node.inputs[3] is not None
    b = slot_of(node, 3) if has_bias else None
    if w is None or r is None or (has_bias and b is None) or node.inputs[0] is None:
        return "its weights are not constants"
    if w.read().dtype.kind != "f":
        return "its weights are not float tensors"
    if graph.attribute(node, "layout", 0):
        return "its layout is batch first"
    if node.op_type == "GRU" and graph.attribute(node, "activations") is not None and not _plain_gru(node):
        return "its activations are not the usual ones"
    return Cell(node, index, (w, r, b))


def _plain_gru(node: ir.Node) -> bool:
    names = [str(a).lower() for a in graph.attribute(node, "activations")]
    return names == ["sigmoid", "tanh"] * (len(names) // 2)


class Player:
    """Runs a recurrent node by itself, with any weights, and gives its states.

    Args:
        cell: The node.
        options: How ONNX Runtime is used.
    """

    def __init__(self, cell: Cell, options: RuntimeOptions) -> None:
        self._peepholes = slot_of(cell.node, 7)
        self._cell, self._options = cell, options
        self._sessions: dict[tuple[str, ...], Session] = {}

    def states(self, given: Inputs, weights: Weights) -> np.ndarray:
        """Y: the states after every step, [steps, directions, samples, hidden]."""
        peepholes = None if self._peepholes is None else self._peepholes.read()
        arrays = (given.x, weights.w, weights.r, weights.b, given.lengths, given.h, given.c, peepholes)
        feeds = {name: a for name, a in zip(_NAMES, arrays, strict=True) if a is not None}
        kind = given.x.dtype
        feeds = {n: a.astype(np.int32 if n == "lengths" else kind) for n, a in feeds.items()}
        return self._session(tuple(feeds), kind, weights.hidden).run(feeds)["y"]

    def _session(self, names: tuple[str, ...], kind: np.dtype, hidden: int) -> Session:
        if names not in self._sessions:
            types = [ir.DataType.INT32 if n == "lengths" else ir.DataType.from_numpy(kind) for n in names]
            ranks = {"x": 3, "w": 3, "r": 3, "b": 2, "lengths": 1, "h": 3, "c": 3, "p": 2}
            values = {
                n: ir.Value(name=n, type=ir.TensorType(t), shape=ir.Shape([f"{n}{i}" for i in range(ranks[n])]))
                for n, t in zip(names, types, strict=True)
            }
            node = self._cell.node
            y = ir.Value(
                name="y", type=ir.TensorType(ir.DataType.from_numpy(kind)), shape=ir.Shape(["t", "d", "n", "u"])
            )
            attributes = [a for a in node.attributes.values() if a.name != "hidden_size"]
            attributes.append(ir.AttrInt64("hidden_size", hidden))
            reads = [values.get(n) for n in _NAMES]
            alone = ir.Node("", node.op_type, reads[: 8 if node.op_type == "LSTM" else 6], attributes, outputs=[y])
            imports = node.graph.opset_imports if node.graph is not None else {"": 17}
            body = ir.Graph(list(values.values()), [y], nodes=[alone], opset_imports=dict(imports), name="cell")
            self._sessions[names] = Session(ir.Model(body, ir_version=8), self._options)
        return self._sessions[names]


def before(cell: Cell, given: Inputs, states: np.ndarray, direction: int) -> np.ndarray:
    """The state that each step starts from, [steps, samples, hidden]."""
    y = states[:, direction]
    first = np.zeros_like(y[0]) if given.h is None else given.h[direction].astype(y.dtype)
    if not cell.reverse(direction):
        return np.concatenate([first[None], y[:-1]])
    shifted = np.concatenate([y[1:], first[None]])
    if given.lengths is None:
        return shifted
    last = np.arange(len(y))[:, None] + 1 >= given.lengths[None, :]
    return np.where(last[:, :, None], first[None], shifted)


def kept_units(weights: Weights, gates: int, kept: np.ndarray) -> Weights:
    """The gates of some units [directions, kept], on all inputs and states: what their targets are made with."""
    rows = (np.arange(gates)[None, :, None] * weights.hidden + kept[:, None, :]).reshape(len(kept), -1)
    both = np.concatenate([rows, rows + gates * weights.hidden], axis=1)
    pick = np.take_along_axis
    return replace(
        weights,
        w=pick(weights.w, rows[:, :, None], axis=1),
        r=pick(weights.r, rows[:, :, None], axis=1),
        b=pick(weights.b, both, axis=1),
    )
