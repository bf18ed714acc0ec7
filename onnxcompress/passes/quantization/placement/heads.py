"""Additions and products of two activations behind a partition, a pool or another such product read pairs.

Not those of a GELU or of a masked Softmax, which run as one float kernel, nor one with a constant (it is fused). Of an
Add only inputs with an integer node before or behind them. Source: modelopt's ``filter_quantizable_kgen_heads``.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.passes.quantization.placement.partition import Partitions
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes
from onnxcompress.passes.quantization.placement.residual import skip_side

_BEFORE = ("AveragePool", "GlobalAveragePool", "MaxPool", "BatchNormalization")
_GELU = ("Erf", "Tanh")
_GELU_STEPS = 3


def heads(request: Request, plan: Plan, parts: Partitions) -> None:
    """Put pairs before every such head."""
    made = set[ir.Value]()
    for node in nodes(request.graph):
        if node.op_type not in ("Add", "Mul") or not _is_head(node, request, parts, made):
            continue
        sides = [(i, v) for i, v in request.variable_inputs(node) if request.holds(v)]
        if node.op_type == "Add":
            sides = [(i, v) for i, v in sides if v in parts.inside or (v.name or "") in plan.pairs]
        for index, value in sides:
            plan.pair(value).readers.append((node, index))
        if sides:
            plan.passing.append(node)
            made.add(node.outputs[0])


def _is_head(node: ir.Node, request: Request, parts: Partitions, made: set[ir.Value]) -> bool:
    sides = [v for _, v in request.variable_inputs(node)]
    if len(sides) != 2 or sides[0] is sides[1] or node.outputs[0].is_graph_output():
        return False
    if (
        skip_side(node, request, parts) is not None
        or node.outputs[0] in parts.inside
        or any(_is_gelu(v) for v in sides)
    ):
        return False
    if any(use.node.op_type == "Softmax" for use in node.outputs[0].uses()):
        return False
    return any(parts.ends(v) or v in made or _from(v, _BEFORE) for v in sides)


def _from(value: ir.Value, kinds: tuple[str, ...]) -> bool:
    node = value.producer()
    return node is not None and node.op_type in kinds


def _is_gelu(value: ir.Value) -> bool:
    """Whether `value` is x (1 + erf(..)), or its second factor."""
    for _ in range(_GELU_STEPS):
        node = value.producer()
        if node is None or node.op_type in _GELU:
            return node is not None
        makers = [v for v in node.inputs if v is not None and v.producer() is not None]
        inner = next((v for v in makers if _from(v, (*_GELU, "Add", "Mul"))), None)
        if node.op_type not in ("Add", "Mul") or inner is None:
            return False
        value = inner
    return False
