"""A pool reads a pair where an integer node reads it through data movement, or where a partition ends before it."""

from __future__ import annotations

from onnxcompress.passes.quantization.placement.partition import Partitions
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes

_POOLS = ("AveragePool", "GlobalAveragePool", "MaxPool")


def pools(request: Request, plan: Plan, parts: Partitions) -> None:
    """Put a pair before every pool between integer nodes."""
    wanted = {name for name, pair in plan.pairs.items() if pair.readers}
    for node in reversed(list(nodes(request.graph))):
        first = node.inputs[0] if node.inputs else None
        if first is None or not request.holds(first):
            continue
        read = any((o.name or "") in wanted for o in node.outputs)
        if node.op_type in _POOLS and (read or (parts.ends(first) and not node.outputs[0].is_graph_output())):
            plan.pair(first).readers.append((node, 0))
            plan.passing.append(node)
            wanted.add(first.name or "")
        elif read and node.op_type in request.target.same_scale_ops:
            wanted.add(first.name or "")
