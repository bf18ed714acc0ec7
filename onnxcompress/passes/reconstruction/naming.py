"""Give a teacher the student's names, where another tool named the tensors anew.

Tensors are matched by name everywhere else. Where the two models share hardly any, their nodes are paired in
topological order: all of them where both have the same sequence of operators, else the weight-carrying ones where
those agree. What cannot be paired keeps the teacher's names, under a prefix that clashes with nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.errors import ModelError
from onnxcompress.passes.reconstruction.cells import GATES
from onnxcompress.passes.reconstruction.slots import slot_of

_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", *GATES}


def with_names_of(student: ir.Model, teacher: ir.Model) -> ir.Model:
    """A copy of `teacher`, sorted, its tensors named as the student names them where that can be told.

    Raises:
        ModelError: Where the two take other inputs.
    """
    copy = graph.clone(teacher)
    copy.graph.sort()
    _match_inputs(student, copy)
    ours = {v.name for node in student.graph if _weighted(node) for v in node.outputs if v.name}
    theirs = {v.name for node in copy.graph for v in node.outputs if v.name}
    if len(ours & theirs) * 2 < len(ours):
        _rename(copy, _pairs(list(student.graph), list(copy.graph)))
    return copy


def _weighted(node: ir.Node) -> bool:
    return node.op_type in _WEIGHTED and (slot_of(node, 1) is not None or slot_of(node, 0) is not None)


def _pairs(ours: Sequence[ir.Node], theirs: Sequence[ir.Node]) -> list[tuple[ir.Node, ir.Node]]:
    for keep in (lambda node: node.op_type != "Constant", _weighted):
        a, b = ([n for n in nodes if keep(n)] for nodes in (ours, theirs))
        if [n.op_type for n in a] == [n.op_type for n in b]:
            return list(zip(a, b, strict=True))
    return []


def _rename(teacher: ir.Model, pairs: Sequence[tuple[ir.Node, ir.Node]]) -> None:
    taken = {v.name for v in teacher.graph.inputs} | set(teacher.graph.initializers)
    names = {
        v: u.name
        for ours, theirs in pairs
        for u, v in zip(ours.outputs, theirs.outputs, strict=False)
        if u.name and u.name not in taken
    }
    for node in teacher.graph:
        for value in node.outputs:
            if value.name:
                value.name = names.get(value) or f"teacher/{value.name}"


def _match_inputs(student: ir.Model, teacher: ir.Model) -> None:
    """Check that both take the same inputs, and give the teacher's the student's names."""
    ours, theirs = ([v for v in m.graph.inputs if not v.is_initializer()] for m in (student, teacher))
    by_name = {v.name: v for v in theirs}
    pairs = list(zip(ours, theirs, strict=False))
    if {v.name for v in ours} == set(by_name):
        pairs = [(v, by_name[v.name]) for v in ours]
    if len(ours) != len(theirs) or not all(_alike(a, b) for a, b in pairs):
        why = f"the student takes {_told(ours)}; the teacher takes {_told(theirs)}"
        hint = "Give the model that the student was made from as --teacher."
        what = "cannot compare student and teacher"
        raise ModelError(what, where="graph inputs", why=why, hint=hint, code="MODEL-TEACHER-INPUTS")
    for a, b in pairs:
        b.name = a.name


def _alike(a: ir.Value, b: ir.Value) -> bool:
    if a.dtype != b.dtype or a.shape is None or b.shape is None:
        return a.dtype == b.dtype
    sizes = [(m, n) for m, n in zip(a.shape, b.shape, strict=False) if isinstance(m, int) and isinstance(n, int)]
    return len(a.shape) == len(b.shape) and all(m == n for m, n in sizes)


def _told(values: Sequence[ir.Value]) -> str:
    return (
        ", ".join(f"{v.name} {v.dtype.name if v.dtype is not None else ''}{v.shape or ''}" for v in values) or "nothing"
    )
