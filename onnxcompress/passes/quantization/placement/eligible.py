"""Which multiplying nodes may run on integers at all, and the reason code of each that may not."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, label, tensor_of
from onnxcompress.passes.quantization.linear import FLOATS, Linear, is_linear, is_stored_weight, linear_of
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes

Reason = tuple[str, str]

_LEAST_SIDE = 16  # TensorRT's int8 matrix kernels are slower than float below this


def eligible(request: Request, plan: Plan) -> list[Linear]:
    """The nodes that may run on integers, in order; the others go to ``plan.left`` with a reason."""
    found: list[Linear] = []
    for node in nodes(request.graph):
        if not is_linear(node):
            continue
        linear = linear_of(node)
        reason = _reason(linear, request)
        if reason is None:
            found.append(linear)
        else:
            plan.left[node] = reason
    return found


def _reason(linear: Linear, request: Request) -> Reason | None:
    node = linear.node
    if label(node) not in request.chosen:
        return "QUANT-EXCLUDED", "left float because --exclude or --only says so"
    if node.op_type not in request.target.op_types:
        return "QUANT-NO-KERNEL", f"{request.target.name} has no integer kernel for {node.op_type}"
    if linear.weight is not None and all(tensor_of(value) is not None for value in linear.inputs):
        return "QUANT-CONSTANT", "both factors are constant; run normalize first"
    opened = [v.name for v in linear.inputs if v.is_initializer() and v.is_graph_input()]
    if opened:
        return "QUANT-DYNAMIC-WEIGHT", f"{opened[0]} is a graph input too, which callers may override"
    if _is_quantized(linear):
        return "QUANT-ALREADY", "its inputs come from Q/DQ nodes already; they are left as they are"
    if node.op_type in ("Conv", "ConvTranspose") and linear.weight != 1:
        return "QUANT-DYNAMIC-WEIGHT", "its weight is computed while the model runs"
    return _by_type(linear, request) or _by_numbers(linear) or _by_target(linear, request)


def _by_type(linear: Linear, request: Request) -> Reason | None:
    kinds = {request.table.dtype(v.name) or v.dtype for v in linear.inputs}
    if not kinds <= {*FLOATS, None}:
        shown = ", ".join(sorted(k.name for k in kinds if k))
        return "QUANT-DTYPE", f"its inputs are {shown}; Q/DQ pairs stand on float32 and float16"
    if request.live is not None and not all(v.name in request.live for v in linear.inputs):
        return "QUANT-NOT-RUN", "it comes after a node that ONNX Runtime cannot run, so its range is not known"
    names = [v.name for v in linear.inputs if v.name in request.islands]
    if names:
        return "QUANT-ISLAND", f"its input {names[0]} stays float: in int8 it alone changes the output most"
    return None


def _by_numbers(linear: Linear) -> Reason | None:
    weight = None if linear.weight is None else array_of(linear.value(linear.weight))
    if weight is None or (weight.size and np.isfinite(weight).all()):
        return None
    if not weight.size:
        return "QUANT-SMALL", "its weight has no elements"
    return "QUANT-NOT-FINITE", "its weight holds NaN or infinity, which no integer stands for"


def _by_target(linear: Linear, request: Request) -> Reason | None:
    target, node = request.target, linear.node
    if target.exclude_gemv and node.op_type in ("MatMul", "Gemm"):
        small = _small(linear, request)
        if small:
            return "QUANT-TOO-SMALL", f"{small}: int8 is slower than float there on {target.name}"
    if target.exclude_masked_attention and linear.weight is None and _masked(node):
        return "QUANT-ATTENTION", f"it belongs to a masked attention, which {target.name} fuses in float"
    return None


def _small(linear: Linear, request: Request) -> str:
    """Why a product is too small, from sizes that hold for every batch; empty where it is not."""
    node = linear.node
    left, right = (request.table.dims(v.name) or tuple(v.shape or ()) for v in (linear.value(0), linear.value(1)))
    if len(left) < 2 or len(right) < 2:
        return "a product with a vector"
    turned_a, turned_b = (attribute(node, key, 0) for key in ("transA", "transB"))
    rows, inner = left[-1 if turned_a else -2], left[-2 if turned_a else -1]
    columns = right[-2 if turned_b else -1]
    for name, size, least in (("rows", rows, 2), ("columns", columns, _LEAST_SIDE), ("inner size", inner, _LEAST_SIDE)):
        if isinstance(size, int) and size < least:
            return f"a product with {name} {size}"
    return ""


def _masked(node: ir.Node) -> bool:
    """True for the products before and after an Add whose two inputs depend on the samples and that feeds a Softmax."""
    after = _next(node, ("Mul", "Div"))
    if after is not None and after.op_type == "Add" and _next(after, ()) is not None:
        following = _next(after, ())
        return following is not None and following.op_type == "Softmax"
    left = node.inputs[0].producer() if node.inputs[0] is not None else None
    if left is None or left.op_type != "Softmax" or left.inputs[0] is None:
        return False
    source = left.inputs[0].producer()
    return source is not None and source.op_type == "Add"


def _next(node: ir.Node, through: tuple[str, ...]) -> ir.Node | None:
    """The only node that reads `node`, behind those of the types in `through`."""
    while True:
        uses = list(node.outputs[0].uses())
        if len(uses) != 1:
            return None
        node = uses[0].node
        if node.op_type not in through:
            return node


def _is_quantized(linear: Linear) -> bool:
    values = [*linear.inputs, *([linear.value(linear.weight)] if linear.weight is not None else [])]
    makers = (v.producer() for v in values)
    return any(p is not None and p.op_type == "DequantizeLinear" for p in makers) or any(
        is_stored_weight(v) for v in values
    )
