"""A residual Add reads a pair on the skip side only: the other side ends a partition and is added in its kernel.

Of two sides that both end one, the backbone is the one on the longer path from where they part; as both paths begin at
the same node, that is the side that lies deeper in the graph.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.passes.quantization.placement.partition import Partitions
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes


def skip_sides(request: Request, plan: Plan, parts: Partitions) -> None:
    """Put a pair on the skip side of every residual Add."""
    for node in nodes(request.graph):
        skip = skip_side(node, request, parts)
        if skip is not None and request.holds(skip[1]):
            plan.pair(skip[1]).readers.append((node, skip[0]))
            plan.passing.append(node)


def skip_side(node: ir.Node, request: Request, parts: Partitions) -> tuple[int, ir.Value] | None:
    """Index and tensor of a residual Add's skip side; None where the node is no residual Add."""
    sides = request.variable_inputs(node) if node.op_type == "Add" else []
    if len(sides) != 2 or sides[0][1] is sides[1][1] or node.outputs[0].is_graph_output():
        return None
    fused = [(i, v) for i, v in sides if parts.ends(v)]
    if not fused:
        return None
    backbone, _ = max(fused, key=lambda side: (parts.deep(side[1]), -side[0]))
    index, value = next(side for side in sides if side[0] != backbone)
    return None if value.is_graph_input() else (index, value)
