"""How much of a model's multiplying work reads quantized factors."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.cost import costs, node_label
from onnxcompress.passes.quantization.linear import is_linear, is_stored_weight, linear_of
from onnxcompress.shapes import ShapeTable

_ANCHORED = ("Conv", "Gemm", "MatMul")
_INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger")


def quantized_share(model: ir.Model, table: ShapeTable | None = None) -> float:
    """Share of the MACs of Conv, Gemm and MatMul by a constant whose factors are both quantized; 1.0 without any.

    Args:
        model: A model with Q/DQ nodes, or with integer operators.
        table: Shapes, where they are known already.
    """
    macs = costs(model, table).macs_by_node
    done = total = 0
    for node in model.graph:
        work = macs.get(node_label(node), 0)
        if node.op_type in _INTEGER:
            done, total = done + work, total + work
        elif is_linear(node) and node.op_type in _ANCHORED and _by_constant(node):
            total += work
            done += work if reads_integers(node) else 0
    return done / total if total else 1.0


def reads_integers(node: ir.Node) -> bool:
    """True where both factors come from a DequantizeLinear."""
    return all(_dequantized(value) for value in node.inputs[:2])


def _dequantized(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _by_constant(node: ir.Node) -> bool:
    """True where one factor is constant, dequantized or not."""
    if linear_of(node).weight is not None:
        return True
    return any(is_stored_weight(value) for value in node.inputs[:2])
