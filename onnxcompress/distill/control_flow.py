"""If with a known condition: the branch that runs takes the node's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.tape import Slot
from onnxcompress.errors import ModelError


class Walker(Protocol):
    """What control flow needs of the walk."""

    def look(self, value: ir.Value) -> Slot:
        """The slot of a value."""
        ...

    def bind(self, value: ir.Value, slot: Slot) -> None:
        """Give a value its slot."""
        ...

    def walk(self, scope: ir.Graph, *, main: bool = True) -> None:
        """Compute or record every node of a graph."""
        ...


def inline_if(node: ir.Node, walker: Walker) -> None:
    """Walk the branch that the condition chooses.

    Raises:
        ModelError: Where the samples choose.
    """
    condition = walker.look(node.inputs[0]) if node.inputs[0] is not None else None
    if condition is None or not condition.constant or condition.example is None:
        why = "which branch runs depends on the samples"
        raise _refuse(node, why, "Cut the model before that node, or export it without control flow.")
    branch = node.attributes["then_branch" if bool(condition.example) else "else_branch"].as_graph()
    walker.walk(branch, main=False)
    for outer, inner in zip(node.outputs, branch.outputs, strict=True):
        walker.bind(outer, replace(walker.look(inner)))


def _refuse(node: ir.Node, why: str, hint: str) -> ModelError:
    where = f"{node.op_type} node {graph.label(node)!r}"
    return ModelError("cannot train the model", where=where, why=why, hint=hint, code="MODEL-DISTILL-NODE")
