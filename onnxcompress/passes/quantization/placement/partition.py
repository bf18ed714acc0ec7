"""The part of the graph that a runtime fuses behind a multiplying node: no Q/DQ stands inside it.

It grows along the node's only reader through activations, normalization, data movement, operations with a constant, and
the two nodes of a SiLU, x * sigmoid(x), whose input has two readers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from onnxcompress.graph import is_constant
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Request, nodes

_GATES = ("Sigmoid", "HardSigmoid")


@dataclass(frozen=True)
class Partitions:
    """What is fused behind the multiplying nodes.

    Attributes:
        inside: Every tensor that leaves a multiplying node or a node fused behind one.
        depth: Length of the longest path to a node from the graph's inputs.
    """

    inside: frozenset[ir.Value]
    depth: dict[ir.Node, int]

    def ends(self, value: ir.Value) -> bool:
        """True where `value` is the end of a partition that nothing else reads."""
        return value in self.inside and len(list(value.uses())) == 1

    def deep(self, value: ir.Value) -> int:
        """Depth of the node that makes `value`; -1 for an input of the graph."""
        producer = value.producer()
        return -1 if producer is None else self.depth.get(producer, -1)


def partitions(candidates: Iterable[Linear], request: Request) -> Partitions:
    """The partitions of all multiplying nodes that run on integers."""
    inside = frozenset(out for c in candidates for out in _grown(c.node, request))
    depth: dict[ir.Node, int] = {}
    for node in nodes(request.graph):
        before = [depth[p] for v in node.inputs if v is not None and (p := v.producer()) in depth]
        depth[node] = 1 + max(before, default=0)
    return Partitions(inside, depth)


def _grown(node: ir.Node, request: Request) -> list[ir.Value]:
    out = node.outputs[0]
    found = [out]
    while not out.is_graph_output():
        following = _follower(out, request)
        if following is None:
            return found
        out = following.outputs[0]
        found.append(out)
    return found


def _follower(out: ir.Value, request: Request) -> ir.Node | None:
    """The node that is fused behind `out`."""
    readers = [use.node for use in out.uses()]
    if len(readers) == 1:
        return readers[0] if _fuses(readers[0], request) else None
    return _gated(out, readers)


def _gated(out: ir.Value, readers: list[ir.Node]) -> ir.Node | None:
    """The product of a SiLU whose input is `out`."""
    if len(readers) != 2:
        return None
    gate = next((n for n in readers if n.op_type in _GATES), None)
    product = next((n for n in readers if n.op_type == "Mul"), None)
    if gate is None or product is None or gate.outputs[0] not in product.inputs:
        return None
    return product if len(list(gate.outputs[0].uses())) == 1 else None


def _fuses(node: ir.Node, request: Request) -> bool:
    if node.op_type in ("Mul", "Add"):
        return any(is_constant(v) for v in node.inputs)
    return node.op_type in request.target.absorbed_ops
