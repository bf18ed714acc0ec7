"""Convolutions too narrow for TensorRT's int8 kernels, after modelopt's ``find_nodes_from_convs_to_exclude``.

With fewer than 16 input channels (of a group) or filters, int8 pays only

    group = 1: filters or input channels are a multiple of 8, and it reads a graph input or has one side of at least 16,
               and its kernel is square;
    grouped:   filters are a multiple of 8, and no side of the kernel is below 3.
"""

from __future__ import annotations

from onnxcompress.graph import attribute
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Reason, Request

_LEAST, _MULTIPLE, _LEAST_KERNEL = 16, 8, 3


def small_convolution(linear: Linear, request: Request) -> Reason | None:
    """Why a convolution is too narrow; None where it is not."""
    if linear.node.op_type != "Conv" or linear.weight is None:
        return None
    filters, channels, *kernel = request.dims(linear.value(linear.weight))
    if not all(isinstance(size, int) for size in (filters, channels, *kernel)):
        return None
    if min(filters, channels) >= _LEAST:
        return None
    fits = _grouped(filters, kernel) if attribute(linear.node, "group", 1) > 1 else _dense(linear, filters, channels)
    if fits:
        return None
    shape = "x".join(map(str, kernel)) or "1"
    why = f"{channels} channels to {filters} filters of {shape}"
    return "QUANT-TOO-SMALL", f"{why}: int8 is slower than float there on {request.target.name}"


def _grouped(filters: int, kernel: list[int]) -> bool:
    return filters % _MULTIPLE == 0 and min(kernel, default=1) >= _LEAST_KERNEL


def _dense(linear: Linear, filters: int, channels: int) -> bool:
    kernel = linear.value(1).shape
    square = kernel is not None and len(set(kernel[2:])) <= 1
    aligned = filters % _MULTIPLE == 0 or channels % _MULTIPLE == 0
    wide = linear.value(0).is_graph_input() or max(filters, channels) >= _LEAST
    return aligned and wide and square
