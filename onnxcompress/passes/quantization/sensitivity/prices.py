"""What a placement costs in time, by a static table of the target: no clock, the same figure on every machine.

    t = sum over multiplying nodes of (MACs * rate + outputs * store)  +  Q and DQ at the seams * elements

Rates differ between float and integers and between dense and depthwise kernels; a seam is a tensor that changes
between float and integers, inside a kernel's reach it costs nothing. The table's unit is a nanosecond on one core of
the machine that it was measured on; only ratios matter. It stands under ``[prices]`` in the target's file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import onnx_ir as ir

from onnxcompress.graph import attribute, label
from onnxcompress.passes.quantization.linear import is_linear
from onnxcompress.passes.quantization.placement.plan import Pair, Plan, Request
from onnxcompress.targets import Target


@dataclass(frozen=True)
class Prices:
    """Nanoseconds a MAC or an element.

    Attributes:
        float_mac: A dense float product's MAC.
        integer_mac: A dense integer product's.
        float_depthwise_mac: A depthwise float convolution's (one input channel a group).
        integer_depthwise_mac: Its integer form's.
        float_store: An element that a float product yields.
        integer_store: The same for integers.
        quantize: An element of QuantizeLinear.
        dequantize: An element of DequantizeLinear.
        float_passing: An element of an Add, pool or concatenation in float.
        integer_passing: The same in integers.
        seam: Calling one Q or DQ kernel, whatever its size.
    """

    float_mac: float = 0.018
    integer_mac: float = 0.005
    float_depthwise_mac: float = 0.018
    integer_depthwise_mac: float = 0.005
    float_store: float = 0.15
    integer_store: float = 0.15
    quantize: float = 0.3
    dequantize: float = 0.15
    float_passing: float = 0.2
    integer_passing: float = 0.2
    seam: float = 0.0

    @classmethod
    def of(cls, target: Target) -> Prices:
        """The target's table; what it does not say has the default."""
        given = target.prices
        return cls(**{f.name: float(given[f.name]) for f in fields(cls) if f.name in given})


class Pricing:
    """Prices of placements of one model.

    Args:
        request: Shapes and MACs.
    """

    def __init__(self, request: Request) -> None:
        self._request, self._prices = request, Prices.of(request.target)
        self._sizes: dict[str, int] = {}
        self._linear = [node for node in request.graph if is_linear(node)]

    def floating(self) -> float:
        """The time of the multiplying nodes with nothing in integers."""
        return sum(self._node(node, integer=False) for node in self._linear)

    def time(self, plan: Plan) -> float:
        """The time of what a placement changes: multiplying nodes, nodes between them, and seams."""
        integer = {linear.node for linear in plan.linear}
        total = sum(self._node(node, integer=node in integer) for node in self._linear)
        p = self._prices
        total += sum((p.integer_passing - p.float_passing) * self._elements(o) for n in plan.passing for o in n.outputs)
        inside = integer | set(plan.passing)
        return total + sum(self._seam(pair, inside) for pair in plan.pairs.values())

    def _node(self, node: ir.Node, *, integer: bool) -> float:
        macs, out, p = self._request.macs.get(label(node), 0), self._elements(node.outputs[0]), self._prices
        deep = _depthwise(node)
        if integer:
            return macs * (p.integer_depthwise_mac if deep else p.integer_mac) + out * p.integer_store
        return macs * (p.float_depthwise_mac if deep else p.float_mac) + out * p.float_store

    def _seam(self, pair: Pair, inside: set[ir.Node]) -> float:
        """Q where a float node yields the tensor, DQ where a float node reads it."""
        size, p = self._elements(pair.value), self._prices
        producer = pair.value.producer()
        while producer is not None and producer.op_type in self._request.target.absorbed_ops:
            first = producer.inputs[0]
            producer = first.producer() if first is not None else None
        made = pair.sealed and producer is not None and producer in inside
        readers = {node for node, _ in pair.readers}
        float_readers = pair.value.is_graph_output() or any(u.node not in readers for u in pair.value.uses())
        cost = 0.0 if made else p.quantize * size + p.seam
        return cost + (p.dequantize * size + p.seam if pair.sealed and float_readers else 0.0)

    def _elements(self, value: ir.Value) -> int:
        name = value.name or ""
        if name not in self._sizes:
            table = self._request.table
            self._sizes[name] = math.prod(table.probe(name) or ()) // max(1, table.batch)
        return self._sizes[name]


def _depthwise(node: ir.Node) -> bool:
    if node.op_type != "Conv":
        return False
    weight = node.inputs[1]
    shape = tuple(weight.shape or ()) if weight is not None else ()
    return attribute(node, "group", 1) > 1 and len(shape) > 1 and shape[1] == 1
