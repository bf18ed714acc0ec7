"""Pairs on inputs only: the placement of runtimes that fuse what stands behind a product (TensorRT, OpenVINO).

The data inputs of every multiplying node get a pair; inside the partition that grows behind it (`partition`) there is
none. What else reads one is up to the target's `extra_pairs`: each is a rule in a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from onnxcompress.passes.quantization.linear import Linear, linear_of
from onnxcompress.passes.quantization.placement.followers import norms, resizes
from onnxcompress.passes.quantization.placement.heads import heads
from onnxcompress.passes.quantization.placement.partition import Partitions, partitions
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes
from onnxcompress.passes.quantization.placement.pools import pools
from onnxcompress.passes.quantization.placement.residual import skip_sides

RULES: dict[str, Callable[[Request, Plan, Partitions], None]] = {
    "residual-skip": skip_sides,
    "resize": resizes,
    "layer-normalization": norms,
    "heads": heads,
    "pools": pools,
}
"""By the name that a target's `extra_pairs` gives them, in the order in which they apply."""


def place_inputs(request: Request, plan: Plan, candidates: list[Linear]) -> None:
    """Fill `plan` for the nodes in `candidates`."""
    plan.linear = candidates
    heavy = {c.node: c for c in candidates}
    for node in nodes(request.graph):
        if node in heavy:
            for index in heavy[node].data:
                plan.pair(heavy[node].value(index)).readers.append((node, index))
    islands = [linear_of(node) for node, (code, _) in plan.left.items() if code == "QUANT-ISLAND"]
    parts = partitions([*candidates, *islands], request)  # an island moves no other pair
    for name, rule in RULES.items():
        if name in request.target.extra_pairs:
            rule(request, plan, parts)
