"""Pairs on inputs and outputs: the placement of targets whose integer kernels also write integers (ONNX Runtime).

Three sweeps, each over the nodes once. U is the set of tensors that some integer node would like to read.

1. Backward: every input of a multiplying node is in U; a node that can pass integers through puts its inputs into U
   where its output is in U.
2. Forward: a tensor gets a pair where a multiplying node reads it, or writes it (always for operators that have no
   kernel otherwise, for the others where it is in U). A node in between runs on integers where all its inputs have a
   pair and its output is in U, and gives its output a pair. So a node in between is never the reason for a float
   tensor to be quantized: gates, normalizations and their inputs stay float.
3. Backward: what no integer node reads in the end is dropped.

Behind a DequantizeLinear and data movement, ONNX Runtime adds a pair of its own where none follows. For int8 at
operator set 21 and later it makes one that it then refuses to load (1.32, x86: output_dtype INT8 beside a zero point
turned uint8), so that such data movement gets its pair here.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import is_constant
from onnxcompress.passes.quantization.linear import Linear
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes, tail

_TYPED_OPSET = 21
"""Operator set from which QuantizeLinear has the attribute output_dtype."""

_CARRIERS = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice")
"""Data movement that ONNX Runtime carries a DequantizeLinear across."""


def place_full(request: Request, plan: Plan, candidates: list[Linear]) -> None:
    """Fill `plan` for the nodes in `candidates`."""
    target = request.target
    plan.linear = [c for c in candidates if _output_allowed(c, request, plan)]
    heavy = {c.node: c for c in plan.linear}
    wanted = _wanted(request, heavy)
    held = {v.name for c in plan.linear for v in c.inputs}
    for node in nodes(request.graph):
        if node in heavy:
            out = tail(node, target.absorbed_ops)
            needed = node.op_type in target.output_needed
            if out.name not in request.islands and (needed or (out.name in wanted and not out.is_graph_output())):
                held.add(out.name)
        elif _passes(node, request, held, wanted):
            plan.passing.append(node)
            held.update(o.name for o in _results(node, request))
    _drop_unread(request, plan, heavy)
    if target.activation_dtype == "int8" and request.graph.opset_imports.get("", 0) >= _TYPED_OPSET:
        plan.passing += _carried(request, plan, heavy)
    _pairs(request, plan, heavy)


def _output_allowed(linear: Linear, request: Request, plan: Plan) -> bool:
    node = linear.node
    out = tail(node, request.target.absorbed_ops)
    if node.op_type in request.target.output_needed and out.name in request.islands:
        plan.left[node] = (
            "QUANT-ISLAND",
            f"its output {out.name} stays float: in int8 it alone changes the output most",
        )
        return False
    return True


def _wanted(request: Request, heavy: dict[ir.Node, Linear]) -> set[str | None]:
    wanted: set[str | None] = {v.name for c in heavy.values() for v in c.inputs}
    for node in reversed(list(nodes(request.graph))):
        if _can_pass(node, request) and any(o.name in wanted for o in _results(node, request)):
            wanted.update(v.name for v in _sources(node, request))
    return wanted


def _can_pass(node: ir.Node, request: Request) -> bool:
    target = request.target
    if node.domain not in ("", "ai.onnx") or (node.op_type == "MaxPool" and len(node.outputs) > 1):
        return False
    return node.op_type in target.companion_ops or node.op_type in target.same_scale_ops


def _sources(node: ir.Node, request: Request) -> list[ir.Value]:
    """The inputs that carry numbers from the samples: the first one of a data movement, all of a companion."""
    inputs = node.inputs[:1] if node.op_type in request.target.same_scale_ops else node.inputs
    return [v for v in inputs if v is not None]


def _results(node: ir.Node, request: Request) -> list[ir.Value]:
    if node.op_type in request.target.same_scale_ops:
        return [o for o in node.outputs if o.name]
    return [tail(node, request.target.absorbed_ops)]


def _passes(node: ir.Node, request: Request, held: set[str | None], wanted: set[str | None]) -> bool:
    if not _can_pass(node, request):
        return False
    sources, results = _sources(node, request), _results(node, request)
    if not sources or not all(v.name in held and not is_constant(v) for v in sources):
        return False
    if any(o.name in request.islands for o in results):
        return False
    return any(o.name in wanted for o in results)


def _drop_unread(request: Request, plan: Plan, heavy: dict[ir.Node, Linear]) -> None:
    """Keep a node in between only where an integer node reads it."""
    read = {v.name for c in heavy.values() for v in c.inputs}
    kept: list[ir.Node] = []
    for node in reversed(plan.passing):
        if any(o.name in read for o in _results(node, request)):
            kept.append(node)
            read.update(v.name for v in _sources(node, request))
    plan.passing = kept[::-1]


def _carried(request: Request, plan: Plan, heavy: dict[ir.Node, Linear]) -> list[ir.Node]:
    """Data movement behind a sealed pair that has no pair behind itself yet."""
    target, passing = request.target, set(plan.passing)
    sealed = {tail(node, target.absorbed_ops).name for node in heavy if node.op_type in target.output_needed}
    found: list[ir.Node] = []
    for node in nodes(request.graph):
        source = node.inputs[0] if node.inputs else None
        carries = source is not None and source.name in sealed and node.op_type in _CARRIERS
        new = carries and node not in passing and _can_pass(node, request)
        if new:
            found.append(node)
        if new or node in passing:
            sealed.update(out.name for out in _results(node, request))
    return found


def _pairs(request: Request, plan: Plan, heavy: dict[ir.Node, Linear]) -> None:
    """Make the pairs in the order of the graph, with their readers, shared scales and seals."""
    passing = set(plan.passing)
    for node in nodes(request.graph):
        if node in heavy:
            for index in heavy[node].data:
                plan.pair(heavy[node].value(index)).readers.append((node, index))
            if node.op_type in request.target.output_needed:
                plan.pair(tail(node, request.target.absorbed_ops)).sealed = True
        elif node in passing:
            sources, results = _sources(node, request), _results(node, request)
            for index, value in enumerate(sources):
                plan.pair(value).readers.append((node, index))
            for out in results:
                plan.pair(out).sealed = True
                if node.op_type in request.target.same_scale_ops:
                    plan.share(out.name or "", sources[0].name or "")
    _seal_products(request, plan, heavy)


def _seal_products(request: Request, plan: Plan, heavy: dict[ir.Node, Linear]) -> None:
    """A product may write integers or floats: integers where nobody else reads it."""
    for node in heavy:
        out = tail(node, request.target.absorbed_ops)
        pair = plan.pairs.get(out.name or "")
        if pair is not None and not out.is_graph_output() and len(pair.readers) == len(list(out.uses())):
            pair.sealed = True
