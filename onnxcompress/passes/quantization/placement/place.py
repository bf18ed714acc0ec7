"""Where Q/DQ pairs go, by the rules that the target states as data."""

from __future__ import annotations

from onnxcompress.passes.quantization.placement.eligible import eligible
from onnxcompress.passes.quantization.placement.full import place_full
from onnxcompress.passes.quantization.placement.inputs_only import place_inputs
from onnxcompress.passes.quantization.placement.plan import Plan, Request


def place(request: Request) -> Plan:
    """The placement for one target; a pure function of the request."""
    plan = Plan()
    candidates = eligible(request, plan)
    (place_full if request.target.quantize_outputs else place_inputs)(request, plan, candidates)
    return plan
