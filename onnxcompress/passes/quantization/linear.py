"""The multiplying nodes: which inputs are data, weight and bias, and along which axis the weight has its channels."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from onnxcompress.graph import attribute, tensor_of

LINEAR_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""Operators whose work is multiplications by weights; every other float product is none of quantization's business."""

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
"""Types that Q/DQ pairs of this project can stand on."""


@dataclass(frozen=True)
class Linear:
    """One multiplying node.

    Attributes:
        node: The node.
        data: Indices of the inputs that depend on the samples.
        weight: Index of the constant factor; None where both factors depend on the samples.
        bias: Index of the constant bias; None where there is none.
        axis: The weight's axis of output channels; None where one scale serves the whole weight.
    """

    node: ir.Node
    data: tuple[int, ...]
    weight: int | None
    bias: int | None
    axis: int | None

    def value(self, index: int) -> ir.Value:
        """The input at `index`."""
        found = self.node.inputs[index]
        assert found is not None
        return found

    @property
    def inputs(self) -> list[ir.Value]:
        """The inputs that depend on the samples."""
        return [self.value(i) for i in self.data]


def is_linear(node: ir.Node) -> bool:
    """True for the default domain's multiplying operators."""
    return node.op_type in LINEAR_OPS and node.domain in ("", "ai.onnx")


def linear_of(node: ir.Node) -> Linear:
    """What the inputs of a multiplying node are."""
    factors = [i for i in (0, 1) if i < len(node.inputs) and node.inputs[i] is not None]
    weight = next((i for i in reversed(factors) if tensor_of(node.inputs[i]) is not None), None)
    bias = 2 if len(node.inputs) > 2 and tensor_of(node.inputs[2]) is not None else None
    data = tuple(i for i in factors if i != weight)
    return Linear(node, data, weight, bias, None if weight is None else _axis(node, weight))


def _axis(node: ir.Node, weight: int) -> int | None:
    """Conv: the filters. ConvTranspose: the columns, which groups share. Products: the columns of the right factor."""
    value = node.inputs[weight]
    rank = len(value.shape) if value is not None and value.shape is not None else 0
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if weight == 0 or rank != 2:
        return None
    return 0 if node.op_type == "Gemm" and attribute(node, "transB", 0) else 1


def is_stored_weight(value: ir.Value | None) -> bool:
    """True for a constant of integers times a scale, behind DequantizeLinear or behind Cast and Mul."""
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Mul":
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
        return node is not None and node.op_type == "Cast" and tensor_of(node.inputs[0]) is not None
    return node is not None and node.op_type == "DequantizeLinear" and tensor_of(node.inputs[0]) is not None
