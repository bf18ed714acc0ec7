"""What a linear node is fitted to: a tensor of the teacher, undone through what lies between, and the clip after it.

From the node's output y the graph is followed through operations that a constant per channel describes, a sum with a
tensor u that the student already has (the shortcut), and an activation with a flat part:

    v = f y + g            BatchNormalization, Mul, Div, Add, Sub by constants, Identity
    s = v + u              Add
    q = s                  a Q/DQ pair, but for its rounding
    a = clip(s, low, high) Relu, Clip, HardSwish, HardSigmoid

Any of y, v, s that the teacher has under the same name gives a target for y, that of s being (s_t - u - g) / f: what
has piled up on the shortcut is corrected. The flat parts of the activation become bounds for y.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.slots import slot_of

_SMALL = 1e-6


@dataclass(frozen=True)
class Aim:
    """Where a node's target comes from.

    Attributes:
        name: Tensor of the teacher.
        minus: Tensor of the student that is taken off, empty for none.
        factor: f, one number a channel, or one for all.
        shift: g, likewise.
        low: Values of the activation's input up to here all come out the same; -inf for none.
        high: Values from here on likewise; inf for none.
        bound_factor: The same as `factor` up to the activation's input.
        bound_shift: The same as `shift`.
        bound_minus: The same as `minus`.
    """

    name: str
    minus: str = ""
    factor: np.ndarray = field(default_factory=lambda: np.ones(1))
    shift: np.ndarray = field(default_factory=lambda: np.zeros(1))
    low: float = -np.inf
    high: float = np.inf
    bound_factor: np.ndarray = field(default_factory=lambda: np.ones(1))
    bound_shift: np.ndarray = field(default_factory=lambda: np.zeros(1))
    bound_minus: str = ""

    def target(self, teacher: np.ndarray, shortcut: np.ndarray | None, axis: int) -> np.ndarray:
        """The target of y, its channels on `axis` counted from the end."""
        wide = teacher if shortcut is None else teacher - shortcut
        return (wide - _wide(self.shift, axis)) / _wide(self.factor, axis)

    def bounds(self, shortcut: np.ndarray | None, axis: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Below and above what y makes no difference any more; broadcast against y; None where it always does."""
        if not (np.isfinite(self.low) or np.isfinite(self.high)):
            return None, None
        factor, offset = _wide(self.bound_factor, axis), _wide(self.bound_shift, axis)
        offset = offset if shortcut is None else offset + shortcut
        ends = (self.low - offset) / factor, (self.high - offset) / factor
        low, high = np.minimum(*ends), np.maximum(*ends)
        return (low if np.isfinite(low).any() else None), (high if np.isfinite(high).any() else None)


def aims_of(linear: Linear, teacher: Mapping[str, int]) -> list[Aim]:
    """Possible targets, the best first: the sum with the shortcut, the node's own output, what follows from it.

    Args:
        linear: A node of the student.
        teacher: Names of the teacher's tensors.
    """
    points = list(_followed(linear))
    last = points[-1]
    low, high = _flat(last[0])
    bounds = {"low": low, "high": high, "bound_factor": last[1].factor, "bound_shift": last[1].shift}
    if np.abs(last[1].factor).min() < _SMALL:
        bounds = {}
    aims = [replace(aim, **bounds, bound_minus=last[1].minus) for _, aim in points]
    usable = [a for a in aims if a.name in teacher and np.abs(a.factor).min() >= _SMALL]
    return sorted(usable, key=lambda a: not a.minus)


def _followed(linear: Linear) -> Iterator[tuple[ir.Value, Aim]]:
    """The node's output and what it becomes, up to an operation that no constant per channel describes."""
    value, aim, axis = linear.output, Aim(linear.output.name or ""), linear.channel_axis
    groups, _, outputs = linear.shape()
    yield value, aim
    while True:
        restored = behind_pair(value)
        if restored is not value:
            value, aim = restored, replace(aim, name=restored.name or "")
            yield value, aim
        step = _only_reader(value)
        affine = None if step is None else _affine(step, value, axis, groups * outputs)
        if step is not None and affine is not None:
            f, g = affine
            aim = replace(aim, factor=aim.factor * f, shift=aim.shift * f + g)
        elif step is not None and step.op_type == "Add" and not aim.minus and _other(step, value) is not None:
            aim = replace(aim, minus=_other(step, value) or "")
        else:
            return
        if aim.minus and affine is not None:
            return  # what is added to the shortcut afterwards would need the shortcut scaled too
        value = step.outputs[0]
        aim = replace(aim, name=value.name or "")
        yield value, aim


def behind_pair(value: ir.Value) -> ir.Value:
    """What the Q/DQ pair that alone reads `value` yields; `value` itself where there is none."""
    quantize = _only_reader(value)
    if quantize is None or quantize.op_type != "QuantizeLinear":
        return value
    restore = _only_reader(quantize.outputs[0])
    return value if restore is None or restore.op_type != "DequantizeLinear" else restore.outputs[0]


def _other(adder: ir.Node, value: ir.Value) -> str | None:
    """Name of the other operand, where it is no constant and not the same tensor."""
    others = [v for v in adder.inputs if v is not value]
    return (others[0].name or None) if len(others) == 1 and others[0] is not None and others[0].producer() else None


def _affine(step: ir.Node, value: ir.Value, axis: int, channels: int) -> tuple[np.ndarray, np.ndarray] | None:
    """F and g of an operation that is f v + g with constants per channel; None where it is not."""
    one, zero = np.ones(1), np.zeros(1)
    if step.op_type == "Identity":
        return one, zero
    if step.op_type == "BatchNormalization":
        return _normalization(step) if len(step.outputs) == 1 else None
    if step.op_type not in ("Mul", "Div", "Add", "Sub") or len(step.inputs) != 2:
        return None
    place = 1 if step.inputs[0] is value else 0
    slot = slot_of(step, place)
    vector = None if slot is None else _vector(slot.read(), axis, channels)
    if vector is None:
        return None
    if step.op_type == "Mul":
        return vector, zero
    if step.op_type == "Add":
        return one, vector
    if step.op_type == "Sub":
        return (one, -vector) if place == 1 else (-one, vector)
    return (1.0 / vector, zero) if place == 1 and np.all(vector) else None


def _normalization(step: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    slots = [slot_of(step, i) for i in range(1, 5)]
    if not all(slots):
        return None
    scale, shift, mean, variance = (s.read().astype(np.float64) for s in slots if s is not None)
    factor = scale / np.sqrt(variance + float(graph.attribute(step, "epsilon", 1e-5)))
    return factor, shift - factor * mean


def _vector(array: np.ndarray, axis: int, channels: int) -> np.ndarray | None:
    """A constant as one number a channel, or one in all; None where it varies along another axis."""
    if array.dtype.kind != "f":
        return None
    if array.size == 1 and array.ndim <= -axis:
        return array.reshape(1).astype(np.float64)
    fits = array.ndim >= -axis and array.shape[axis] == channels and array.size == channels
    return array.reshape(-1).astype(np.float64) if fits else None


def _flat(value: ir.Value) -> tuple[float, float]:
    """Where the activation that alone reads `value` is flat: up to the first number, and from the second on."""
    step, none = _only_reader(value), (-np.inf, np.inf)
    if step is None:
        return none
    if step.op_type == "Relu":
        return 0.0, np.inf
    if step.op_type == "HardSwish":
        return -3.0, np.inf
    if step.op_type == "HardSigmoid":
        alpha, beta = (float(graph.attribute(step, n, d)) for n, d in (("alpha", 0.2), ("beta", 0.5)))
        return (-beta / alpha, (1.0 - beta) / alpha) if alpha > 0 else none
    return clip_bounds(step) if step.op_type == "Clip" else none


def clip_bounds(step: ir.Node) -> tuple[float, float]:
    """Bounds of a Clip node, infinite where it has none or they are not constant."""
    bounds = [-np.inf, np.inf]
    for place, name in enumerate(("min", "max")):
        given = graph.attribute(step, name)
        slot = slot_of(step, place + 1)
        if slot is not None:
            given = slot.read().reshape(-1)[0]
        bounds[place] = bounds[place] if given is None else float(given)
    return bounds[0], bounds[1]


def _only_reader(value: ir.Value) -> ir.Node | None:
    """The one node that reads `value`, where it reads it once and the value is no graph output."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _wide(vector: np.ndarray, axis: int) -> np.ndarray:
    """One number a channel, shaped to broadcast against a tensor with its channels on `axis` (from the end)."""
    return vector.reshape(-1, *(1,) * (-axis - 1))
