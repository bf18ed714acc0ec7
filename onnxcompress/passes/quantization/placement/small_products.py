"""Matrix products too small for TensorRT's int8 kernels: a row or column alone, or a side below 16.

Source: modelopt's ``find_nodes_from_matmul_to_exclude``. Only sizes that hold for every batch count.
"""

from __future__ import annotations

from onnxcompress.graph import attribute
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Reason, Request

_LEAST_SIDE = 16


def small_product(linear: Linear, request: Request) -> Reason | None:
    """Why a product is too small; None where it is not."""
    if linear.node.op_type not in ("MatMul", "Gemm"):
        return None
    small = _small(linear, request)
    return ("QUANT-TOO-SMALL", f"{small}: int8 is slower than float there on {request.target.name}") if small else None


def _small(linear: Linear, request: Request) -> str:
    node = linear.node
    left, right = (request.dims(linear.value(i)) for i in (0, 1))
    if len(left) < 2 or len(right) < 2:
        return "a product with a vector"
    turned_a, turned_b = (attribute(node, key, 0) for key in ("transA", "transB"))
    rows, inner = left[-1 if turned_a else -2], left[-2 if turned_a else -1]
    columns = right[-2 if turned_b else -1]
    for name, size, least in (("rows", rows, 2), ("columns", columns, _LEAST_SIDE), ("inner size", inner, _LEAST_SIDE)):
        if isinstance(size, int) and size < least:
            return f"a product with {name} {size}"
    return ""
