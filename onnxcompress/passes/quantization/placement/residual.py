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
        skip = _skip(node, request, parts) if node.op_type == "Add" else None
        if skip is not None:
            index, value = skip
            plan.pair(value).readers.append((node, index))
            plan.passing.append(node)


def _skip(node: ir.Node, request: Request, parts: Partitions) -> tuple[int, ir.Value] | None:
    sides = request.variable_inputs(node)
    if len(sides) != 2 or sides[0][1] is sides[1][1] or node.outputs[0].is_graph_output():
        return None
    fused = [(i, v) for i, v in sides if parts.ends(v)]
    if not fused:
        return None
    backbone, _ = max(fused, key=lambda side: (parts.deep(side[1]), -side[0]))
    index, value = next(side for side in sides if side[0] != backbone)
    return (index, value) if request.holds(value) and not value.is_graph_input() else None
