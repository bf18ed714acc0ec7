"""Which multiplying nodes may run on integers at all, and the reason code of each that may not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxcompress.graph import array_of, label, tensor_of
from onnxcompress.passes.quantization.linear import FLOATS, Linear, is_linear, is_stored_weight, linear_of
from onnxcompress.passes.quantization.placement import attention
from onnxcompress.passes.quantization.placement.plan import Plan, Reason, Request, nodes
from onnxcompress.passes.quantization.placement.small_convolutions import small_convolution
from onnxcompress.passes.quantization.placement.small_products import small_product

_LEAST_WEIGHT = 1e-17
"""A weight below this everywhere would get a scale that counts as zero (see `scales`), and become zero itself."""

EXCLUSIONS: dict[str, Callable[[Linear, Request], Reason | None]] = {
    "small-products": small_product,
    "small-convolutions": small_convolution,
    "masked-attention": attention.masked,
    "long-attention": attention.long,
}
"""By the name that a target's `exclusions` gives them."""


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
    if weight is None:
        return None
    if not weight.size:
        return "QUANT-SMALL", "its weight has no elements"
    largest = max(float(weight.max()), -float(weight.min()))
    if not np.isfinite(largest):
        return "QUANT-NOT-FINITE", "its weight holds NaN or infinity, which no integer stands for"
    if 0 < largest < _LEAST_WEIGHT:
        return "QUANT-TINY", f"its weight is {largest:.1e} at most, too small for a scale"
    return None


def _by_target(linear: Linear, request: Request) -> Reason | None:
    rules = (rule for name, rule in EXCLUSIONS.items() if name in request.target.exclusions)
    return next((reason for rule in rules if (reason := rule(linear, request)) is not None), None)


def _is_quantized(linear: Linear) -> bool:
    values = [*linear.inputs, *([linear.value(linear.weight)] if linear.weight is not None else [])]
    makers = (v.producer() for v in values)
    return any(p is not None and p.op_type == "DequantizeLinear" for p in makers) or any(
        is_stored_weight(v) for v in values
    )
