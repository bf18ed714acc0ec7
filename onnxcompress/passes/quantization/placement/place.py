"""Where Q/DQ pairs go, by the rules that the target states as data."""

from __future__ import annotations

from collections.abc import Callable

from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.concat import one_scale
from onnxcompress.passes.quantization.placement.eligible import eligible
from onnxcompress.passes.quantization.placement.everywhere import place_everywhere
from onnxcompress.passes.quantization.placement.full import place_full
from onnxcompress.passes.quantization.placement.inputs_only import place_inputs
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.placement.products import product_types


def _rule(request: Request) -> Callable[[Request, Plan, list[Linear]], None]:
    if request.target.everywhere:
        return place_everywhere
    return place_full if request.target.quantize_outputs else place_inputs


def place(request: Request) -> Plan:
    """The placement for one target; a pure function of the request."""
    plan = Plan()
    candidates = eligible(request, plan)
    _rule(request)(request, plan, candidates)
    product_types(request, plan)
    if request.target.shared_concat:
        one_scale(request, plan)
    return plan
