"""Attention in TensorRT: products around a masked Softmax stay float (one fused kernel), those over long sequences too.

Source: modelopt's ``find_mha_partitions`` and ``find_nodes_from_mha_to_exclude``.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Reason, Request

_SCALINGS = ("Mul", "Div")


def masked(linear: Linear, request: Request) -> Reason | None:
    """Products before and after an Add whose two inputs depend on the samples and that feeds a Softmax."""
    if linear.weight is not None or not _masked(linear.node):
        return None
    return "QUANT-ATTENTION", f"it belongs to a masked attention, which {request.target.name} fuses in float"


def long(linear: Linear, request: Request) -> Reason | None:
    """Products of two activations around a Softmax whose sequence is longer than the target's int8 kernels take."""
    if linear.weight is not None or linear.node.op_type != "MatMul":
        return None
    length, most = _length(linear, request), request.target.attention_length
    if length is None or length <= most:
        return None
    return "QUANT-ATTENTION", f"its sequence of {length} is longer than the {most} of {request.target.name}'s kernels"


def _masked(node: ir.Node) -> bool:
    after = _next(node, _SCALINGS)
    if after is not None and after.op_type == "Add":
        following = _next(after, ())
        return following is not None and following.op_type == "Softmax"
    before = _before(node)
    if before is None or before.op_type != "Softmax" or before.inputs[0] is None:
        return False
    source = before.inputs[0].producer()
    return source is not None and source.op_type == "Add"


def _length(linear: Linear, request: Request) -> int | None:
    """Keys that each query meets: columns of the product before a Softmax, the inner size of the one behind it."""
    after, before = _next(linear.node, _SCALINGS), _before(linear.node)
    if after is not None and after.op_type == "Softmax":
        dims = request.dims(linear.value(1))
    elif before is not None and before.op_type == "Softmax":
        dims = request.dims(linear.value(0))
    else:
        return None
    last = dims[-1] if dims else None
    return last if isinstance(last, int) else None


def _before(node: ir.Node) -> ir.Node | None:
    return node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None


def _next(node: ir.Node, through: tuple[str, ...]) -> ir.Node | None:
    """The only node that reads `node`, behind those of the types in `through`."""
    while True:
        uses = list(node.outputs[0].uses())
        if len(uses) != 1:
            return None
        node = uses[0].node
        if node.op_type not in through:
            return node
