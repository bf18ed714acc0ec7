"""Pairs on inputs only: the placement of TensorRT's explicit quantization, after NVIDIA's rules and modelopt's code.

From every multiplying node a fusible partition grows along its output through activations, normalization and
data movement, up to and including a residual Add; inside it there is no Q/DQ. The node's own data inputs get a pair,
and of a residual Add only the input that comes from outside of the partition (the skip). Pools between quantized nodes
read a pair too. The inputs of a Concat that have a pair share one scale with its output.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import is_constant
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes

_POOLS = ("AveragePool", "GlobalAveragePool", "MaxPool")


def place_inputs(request: Request, plan: Plan, candidates: list[Linear]) -> None:
    """Fill `plan` for the nodes in `candidates`."""
    plan.linear = candidates
    heavy = {c.node: c for c in candidates}
    inside = {out for c in candidates for out in _partition(c.node, request)}
    for node in nodes(request.graph):
        if node in heavy:
            for index in heavy[node].data:
                plan.pair(heavy[node].value(index)).readers.append((node, index))
        elif node.op_type == "Add" and "Add" in request.target.companion_ops:
            _residual(node, plan, inside, request)
    _pools(request, plan)
    if request.target.shared_concat:
        _share_concats(request, plan)


def _partition(node: ir.Node, request: Request) -> list[ir.Value]:
    """Every tensor that leaves the node or a node fused behind it, before the first one that has several readers."""
    out = node.outputs[0]
    found = [out]
    while not out.is_graph_output():
        uses = list(out.uses())
        if len(uses) != 1 or not _fuses(uses[0].node, request):
            return found
        out = uses[0].node.outputs[0]
        found.append(out)
    return found


def _fuses(node: ir.Node, request: Request) -> bool:
    if node.op_type in ("Mul", "Add"):
        return any(is_constant(v) for v in node.inputs)
    return node.op_type in request.target.absorbed_ops


def _residual(node: ir.Node, plan: Plan, inside: set[ir.Value], request: Request) -> None:
    """Quantize the skip side of an Add that joins the end of a partition with something from outside."""
    sides = [(i, v) for i, v in enumerate(node.inputs) if v is not None and not is_constant(v)]
    if len(sides) != 2 or sides[0][1] is sides[1][1]:
        return
    fused = [(i, v) for i, v in sides if v in inside and len(list(v.uses())) == 1]
    if not fused:
        return
    backbone = _later(fused)
    index, skip = next((i, v) for i, v in sides if v is not backbone)
    if (skip.name or "") in request.islands or skip.is_graph_input():
        return
    plan.pair(skip).readers.append((node, index))
    plan.passing.append(node)


def _later(fused: list[tuple[int, ir.Value]]) -> ir.Value:
    """The side on the longer path from where the two part, read off as the greater depth in the graph."""
    return max(fused, key=lambda side: (_depth(side[1]), -side[0]))[1]


def _depth(value: ir.Value) -> int:
    """Multiplying nodes on the chain of first inputs above a value, up to the first fork."""
    depth = 0
    node = value.producer()
    while node is not None:
        depth += 1
        first = node.inputs[0] if node.inputs else None
        if first is None or len(list(first.uses())) > 1:
            return depth
        node = first.producer()
    return depth


def _pools(request: Request, plan: Plan) -> None:
    """A pool reads a pair where an integer node reads it, through data movement."""
    wanted = {name for name, pair in plan.pairs.items() if pair.readers}
    for node in reversed(list(nodes(request.graph))):
        if not any((o.name or "") in wanted for o in node.outputs):
            continue
        first = node.inputs[0] if node.inputs else None
        if first is None or is_constant(first) or (first.name or "") in request.islands:
            continue
        if node.op_type in _POOLS and node.op_type in request.target.companion_ops:
            plan.pair(first).readers.append((node, 0))
            plan.passing.append(node)
            wanted.add(first.name or "")
        elif node.op_type in request.target.same_scale_ops:
            wanted.add(first.name or "")


def _share_concats(request: Request, plan: Plan) -> None:
    for node in nodes(request.graph):
        if node.op_type != "Concat":
            continue
        names = [v.name or "" for v in (*node.outputs, *node.inputs) if v is not None and (v.name or "") in plan.pairs]
        for name in names[1:]:
            plan.share(name, names[0])
