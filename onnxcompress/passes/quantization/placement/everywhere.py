"""Pairs on every tensor: the placement of runtimes that have nothing but integers (QNN's HTP, small devices).

An operator of the target's lists runs on integers where each of its data inputs may carry a pair; then all of them do,
and so does its output, behind the activation that vanishes into it. Its constants become integers too. Data movement
shares one scale.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, is_constant
from onnxcompress.passes.quantization.linear import Linear, is_linear
from onnxcompress.passes.quantization.placement.plan import Plan, Request, nodes, tail

_ALL_INPUTS = ("Add", "Sub", "Mul", "Div", "Concat", "Min", "Max")
_DEFAULT = ("", "ai.onnx")
_LARGEST = 1e6


def place_everywhere(request: Request, plan: Plan, candidates: list[Linear]) -> None:
    """Fill `plan`: the multiplying nodes in `candidates`, and everything else that the target's lists name."""
    plan.linear = [c for c in candidates if _free(tail(c.node, request.target.absorbed_ops), request, plan, c.node)]
    heavy = {c.node: c for c in plan.linear}
    absorbed = _absorbed(request)
    for node in nodes(request.graph):
        if node in heavy:
            _join(node, heavy[node].data, [_end(node, request)], plan)
        elif node not in absorbed and _runs(node, request):
            _pass(node, request, plan)


def _absorbed(request: Request) -> set[ir.Node | None]:
    """Activations that vanish into a node of the lists, also where that node stays float.

    So an island only takes pairs away: were its activation to run by itself, it would want a pair that nobody ranged.
    """
    known = (*request.target.op_types, *request.target.companion_ops)
    found = [(node, _end(node, request).producer()) for node in nodes(request.graph) if node.op_type in known]
    return {end for node, end in found if end is not node}


def _free(out: ir.Value, request: Request, plan: Plan, node: ir.Node) -> bool:
    if out.name not in request.islands:
        return True
    plan.left[node] = "QUANT-ISLAND", f"its output {out.name} stays float: in int8 it alone changes the output most"
    return False


def _pass(node: ir.Node, request: Request, plan: Plan) -> None:
    moves = node.op_type in request.target.same_scale_ops
    out = node.outputs[0] if moves else _end(node, request)
    outs = [o for o in node.outputs if o.name] if moves else [out]
    sources = _sources(node, request)
    _join(node, tuple(i for i, v in sources if not is_constant(v)), outs, plan)
    plan.constants += [(node, i) for i, v in sources if is_constant(v)]
    plan.passing.append(node)
    for value in outs if moves else ():
        plan.share(value.name or "", node.inputs[0].name or "" if node.inputs[0] is not None else "")


def _end(node: ir.Node, request: Request) -> ir.Value:
    return tail(node, request.target.absorbed_ops)


def _runs(node: ir.Node, request: Request) -> bool:
    target = request.target
    if (
        is_linear(node)
        or node.domain not in _DEFAULT
        or node.op_type not in (*target.companion_ops, *target.same_scale_ops)
    ):
        return False
    if node.op_type == "MaxPool" and len(node.outputs) > 1:
        return False
    sources = [v for _, v in _sources(node, request)]
    data = [v for v in sources if not is_constant(v)]
    if not all(_moderate(v) for v in sources if is_constant(v)):
        return False
    outs = node.outputs if node.op_type in target.same_scale_ops else [_end(node, request)]
    return bool(data) and all(request.holds(v) for v in (*data, *(o for o in outs if o.name)))


def _moderate(value: ir.Value) -> bool:
    """Whether a constant is numbers that a grid can hold; a mask of -1e38 is none."""
    array = array_of(value)
    return array is not None and array.dtype.kind == "f" and bool(np.all(np.abs(array) < _LARGEST))


def _sources(node: ir.Node, request: Request) -> list[tuple[int, ir.Value]]:
    """The inputs that carry numbers of the samples: all of elementwise operators, the first of others."""
    inputs = node.inputs if node.op_type in _ALL_INPUTS else node.inputs[:1]
    return [(i, v) for i, v in enumerate(inputs) if v is not None]


def _join(node: ir.Node, sources: tuple[int, ...], outs: list[ir.Value], plan: Plan) -> None:
    for index in sources:
        value = node.inputs[index]
        assert value is not None
        plan.pair(value).readers.append((node, index))
    for out in outs:
        plan.pair(out).sealed = True
