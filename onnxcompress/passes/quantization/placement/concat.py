"""The inputs of a Concat that have a pair share one scale with its output, so that joining them moves bytes only."""

from __future__ import annotations

from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes


def one_scale(request: Request, plan: Plan) -> None:
    """Unite the scales around every Concat."""
    for node in nodes(request.graph):
        if node.op_type != "Concat":
            continue
        names = [v.name or "" for v in (*node.outputs, *node.inputs) if v is not None and (v.name or "") in plan.pairs]
        for name in names[1:]:
            plan.share(name, names[0])
