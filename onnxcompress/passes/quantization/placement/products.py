"""The type of both factors of a product of two activations, where the target takes another one there (OpenVINO: int8).

OpenVINO 2026.4 runs MatMul of two activations on integers only where both are int8 with zero point 0.
"""

from __future__ import annotations

from onnxcompress.passes.quantization.placement.plan import Plan, Request


def product_types(request: Request, plan: Plan) -> None:
    """Note the type of every factor of such a product in the plan."""
    if not request.target.product_dtype:
        return
    for linear in plan.linear:
        if linear.weight is None:
            plan.kinds.update({value.name or "": (request.target.product_dtype, True) for value in linear.inputs})
