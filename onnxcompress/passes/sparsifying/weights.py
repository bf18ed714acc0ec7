"""The weights that may become sparse, each once, and why the others may not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import is_constant, iter_nodes, label, tensor_of
from onnxcompress.report import Finding

_SLOTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "Einsum": (0, 1),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
}
_INTEGER_OPS = (
    "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits", "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Weight:
    """One weight tensor.

    Attributes:
        node: Its first reader.
        slot: Which input of that node it is.
        value: The constant.
        labels: Labels of all readers, in graph order.
    """

    node: ir.Node
    slot: int
    value: ir.Value
    labels: tuple[str, ...]

    def numbers(self) -> np.ndarray:
        """The tensor as it is."""
        tensor = tensor_of(self.value)
        assert tensor is not None
        return tensor.numpy()

    def magnitudes(self) -> np.ndarray:
        """|w|, float32 for every type of 32 bits and fewer, else float64."""
        numbers = self.numbers()
        return np.abs(numbers.astype(np.float32 if numbers.itemsize <= 4 else np.float64))


def find(model: ir.Model, scope: set[str]) -> tuple[list[Weight], list[Finding]]:
    """Weights of the nodes in `scope`, and one finding for each layer whose weights stay as they are."""
    found: list[Weight] = []
    left: list[Finding] = []
    seen: set[ir.Value] = set()
    for node, slot, value in _candidates(model, scope):
        if value in seen:
            continue
        seen.add(value)
        reason = _why_not(value)
        if reason:
            left.append(Finding("PRUNE-WEIGHTS-LEFT", f"left as it is: {reason}", label(node)))
        elif 0 not in _sizes(value):
            found.append(Weight(node, slot, value, tuple(dict.fromkeys(label(use.node) for use in value.uses()))))
    return found, left + list(_without(model, scope))


def _candidates(model: ir.Model, scope: set[str]) -> Iterator[tuple[ir.Node, int, ir.Value]]:
    """Constant and quantized weights of at least two axes."""
    for node in iter_nodes(model):
        if node.domain not in ("", "ai.onnx") or label(node) not in scope:
            continue
        for slot in _SLOTS.get(node.op_type, ()):
            value = node.inputs[slot] if slot < len(node.inputs) else None
            if value is not None and (_is_stored(value) or _quantized(value)) and len(_sizes(value)) > 1:
                yield node, slot, value


def _sizes(value: ir.Value) -> tuple[int, ...]:
    """Sizes of a stored or quantized weight; what a Constant node makes need not carry a shape of its own."""
    maker = value.producer()
    stored = maker.inputs[0] if maker is not None and maker.op_type == "DequantizeLinear" else value
    tensor = tensor_of(stored) or (stored.const_value if stored is not None else None)
    return () if tensor is None else tuple(tensor.shape.numpy())


def _is_stored(value: ir.Value) -> bool:
    return is_constant(value) or value.is_initializer()


def _quantized(value: ir.Value) -> str:
    """The integer type of a constant that reaches `value` through DequantizeLinear; empty for anything else."""
    maker = value.producer()
    tensor = tensor_of(maker.inputs[0]) if maker is not None and maker.op_type == "DequantizeLinear" else None
    return "" if tensor is None else tensor.dtype.name.lower()


def _why_not(value: ir.Value) -> str:
    if _quantized(value):
        return f"its weight is {_quantized(value)} behind a DequantizeLinear; prune weights before quantizing"
    tensor = tensor_of(value)
    if tensor is None:
        return "its weight is an input that the caller may replace"
    if not tensor.dtype.is_floating_point():
        return f"its weight is {tensor.dtype.name.lower()}, not a float"
    if value.is_graph_output():
        return "its weight is an output of the model as well"
    other = next((u.node for u in value.uses() if u.idx not in _SLOTS.get(u.node.op_type, ())), None)
    if other is not None:
        return f"its weight is also read by the {other.op_type} {label(other)}"
    numbers = tensor.numpy()
    finite = int(np.isfinite(numbers).sum())
    return f"{numbers.size - finite} of its weights are NaN or infinite" if finite < numbers.size else ""


def _without(model: ir.Model, scope: set[str]) -> Iterator[Finding]:
    """Layers that multiply, but not by a float weight that is stored in the model."""
    for node in iter_nodes(model):
        if label(node) not in scope:
            continue
        if node.op_type in _INTEGER_OPS:
            text = "left as it is: it computes on integers; prune weights before quantizing"
            yield Finding("PRUNE-WEIGHTS-LEFT", text, label(node))
        slots = _SLOTS.get(node.op_type, ())
        weights = [node.inputs[slot] for slot in slots if slot < len(node.inputs)]
        if slots and not any(v is not None and (_is_stored(v) or _quantized(v)) for v in weights):
            text = "none of what it multiplies is a weight that the model stores"
            yield Finding("PRUNE-WEIGHTS-NONE", text, label(node))
