"""Which tensors are not worth quantizing: without them the target's static table promises less time.

An integer kernel between float neighbours pays for a Q and a DQ; a depthwise convolution between two HardSwish, or a
product of a few numbers, is slower so than in float, whatever it does to the outputs. Only for targets whose file has
a table of prices; no clock and no sample is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.sensitivity.prices import Pricing

_LEAST = 0.005  # of the integer model's time that a tensor must save
_MOST_TENSORS = 400  # each costs a placement


@dataclass(frozen=True)
class Profit:
    """What stays float for time's sake.

    Attributes:
        tensors: They stay float.
        saved: By leading tensor: share of the integer model's estimated time.
        integer: Estimated time of what is left in integers, and of the rest.
        floating: Estimated time of the float model.
    """

    tensors: tuple[str, ...]
    saved: dict[str, float]
    integer: float
    floating: float


def profit(request: Request, plan: Plan) -> Profit:
    """Take away, one after the other, the tensors without which the placement takes less time; never all of them."""
    pricing, groups = Pricing(request), plan.members()
    whole = time = pricing.time(plan)
    saved: dict[str, float] = {}
    chosen: tuple[str, ...] = ()
    if not request.target.prices or len(groups) > _MOST_TENSORS or not whole:
        return Profit((), {}, whole, pricing.floating())
    alone = {root: pricing.time(place(replace(request, islands=names))) for root, names in groups.items()}
    for root in sorted((r for r in alone if alone[r] < whole), key=lambda r: (alone[r], r)):
        tried = (*chosen, *groups[root])
        after = place(replace(request, islands=tried))
        now = pricing.time(after)
        if after.linear and time - now >= _LEAST * whole:
            chosen, saved[root], time = tried, (time - now) / whole, now
    return Profit(chosen, saved, time, pricing.floating())
