"""Which axis of a weight the layer sums over: its input channels."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import attribute


def reduction_axis(node: ir.Node, slot: int, rank: int) -> int | None:
    """The axis of the input at `slot` that the node sums over, or None where it is not a single one.

    Conv weights are (O, C/g, ...), those of ConvTranspose (C, O/g, ...), recurrent ones (directions, gates, inputs).
    """
    if node.op_type == "Conv":
        return 1
    if node.op_type == "ConvTranspose":
        return 0
    if node.op_type == "Gemm":
        turned = bool(attribute(node, "transB" if slot else "transA", 0))
        return 1 if turned == bool(slot) else 0
    if node.op_type == "MatMul":
        return rank - 2 if slot else rank - 1
    return rank - 1 if node.op_type in ("LSTM", "GRU", "RNN") else None


def output_axis(node: ir.Node, slot: int, rank: int) -> int | None:
    """The other axis of the matrix: that of the layer's outputs."""
    axis = reduction_axis(node, slot, rank)
    if axis is None or rank < 2:
        return None
    return {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, 2 * rank - 3 - axis)


def groups_along(node: ir.Node) -> int:
    """How many equal parts the reduction axis falls into: a grouped ConvTranspose sums over one part at a time."""
    return int(attribute(node, "group", 1)) if node.op_type == "ConvTranspose" else 1
