"""How many nodes a model has once every call of a local function is expanded."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from onnxcompress.errors import ModelError, ResourceError
from onnxcompress.model_io.walk import attributes

if TYPE_CHECKING:
    import onnx

_Id = tuple[str, str, str]
_MAIN: _Id = ("", "", "main graph")


def check_expansion(proto: onnx.ModelProto, what: str, cap: int) -> None:
    """Refuse functions that call themselves, and call trees that grow beyond `cap` nodes.

    The count is a dynamic program over the call graph, so a bomb of a thousand bytes costs nothing.

    Raises:
        ModelError: MODEL-FUNCTION-CYCLE.
        ResourceError: MODEL-TOO-MANY-NODES.
    """
    functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
    bodies = {_MAIN: proto.graph, **functions}
    local = {key: _count(body, functions) for key, body in bodies.items()}
    totals: dict[_Id, int] = {}
    for key in _callees_first(local, what):
        nodes, calls = local[key]
        totals[key] = nodes + sum(times * totals[callee] for callee, times in calls.items())
    if totals[_MAIN] > cap:
        raise ResourceError(
            what,
            why=f"it has {totals[_MAIN]:,} nodes when its functions are expanded, more than the {cap:,} allowed",
            hint="Raise Limits.max_nodes if the model is to be trusted.",
            code="MODEL-TOO-MANY-NODES",
        )


def _count(
    body: onnx.GraphProto | onnx.FunctionProto, functions: dict[_Id, onnx.FunctionProto]
) -> tuple[int, Counter[_Id]]:
    """Nodes of a body with its subgraphs, and how often it calls each function."""
    nodes, calls, stack = 0, Counter[_Id](), [body]
    while stack:
        part = stack.pop()
        nodes += len(part.node)
        calls.update(key for node in part.node if (key := (node.domain, node.op_type, node.overload)) in functions)
        for _, attribute in attributes(part):
            stack.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)
    return nodes, calls


def _callees_first(local: dict[_Id, tuple[int, Counter[_Id]]], what: str) -> list[_Id]:
    """Depth-first post-order without recursion."""
    order: list[_Id] = []
    state: dict[_Id, int] = {}  # 1: being visited, 2: done
    for root in local:
        stack = [root]
        while stack:
            key = stack[-1]
            if state.get(key) is None:
                state[key] = 1
                stack.extend(_unfinished(key, local, state, what))
            else:
                stack.pop()
                if state[key] == 1:
                    state[key] = 2
                    order.append(key)
    return order


def _unfinished(key: _Id, local: dict[_Id, tuple[int, Counter[_Id]]], state: dict[_Id, int], what: str) -> list[_Id]:
    callees = list(local[key][1])
    if any(state.get(callee) == 1 for callee in callees):
        raise ModelError(
            what,
            where=f"function {key[0]}::{key[1]}",
            why="its functions call each other in a circle",
            hint="Export the model again.",
            code="MODEL-FUNCTION-CYCLE",
        )
    return [callee for callee in callees if state.get(callee) is None]
