"""Resize and LayerNormalization read integers where a partition ends before them, through data movement.

Source: modelopt's ``_find_quantizable_kgen_partitions`` and ``find_conv_to_layernorm_nodes``.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.passes.quantization.placement.partition import Partitions
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes

_RESIZES = ("Resize", "Upsample")
_NORMS = ("LayerNormalization",)


def resizes(request: Request, plan: Plan, parts: Partitions) -> None:
    """A Resize behind a partition reads a pair."""
    _follow(_RESIZES, request, plan, parts, convolutions=False)


def norms(request: Request, plan: Plan, parts: Partitions) -> None:
    """A LayerNormalization behind a convolution reads a pair."""
    _follow(_NORMS, request, plan, parts, convolutions=True)


def _follow(kinds: tuple[str, ...], request: Request, plan: Plan, parts: Partitions, *, convolutions: bool) -> None:
    for node in nodes(request.graph):
        first = node.inputs[0] if node.inputs else None
        if node.op_type not in kinds or first is None or not request.holds(first):
            continue
        if node.outputs[0].is_graph_output() or not _behind(first, request, parts, convolutions=convolutions):
            continue
        plan.pair(first).readers.append((node, 0))
        plan.passing.append(node)


def _behind(value: ir.Value, request: Request, parts: Partitions, *, convolutions: bool) -> bool:
    """Whether a partition (of a convolution) ends at `value` or at what data movement makes `value` of."""
    while value not in parts.inside:
        node = value.producer()
        if node is None or node.op_type not in request.target.same_scale_ops or node.inputs[0] is None:
            return False
        value = node.inputs[0]
    return not convolutions or _of_convolution(value)


def _of_convolution(value: ir.Value) -> bool:
    node = value.producer()
    while node is not None and node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    return node is not None and node.op_type in ("Conv", "ConvTranspose")
