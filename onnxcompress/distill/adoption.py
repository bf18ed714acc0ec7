"""A teacher under the student's names, so that everything after it compares by equal names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.outputs import float_sources
from onnxcompress.distill.pairing import RENAMED, Names, Naming, pair_models
from onnxcompress.errors import ModelError
from onnxcompress.report import Finding


@dataclass(frozen=True)
class Adopted:
    """A teacher under the student's names.

    Attributes:
        teacher: The model.
        answers: Names of the tensors that stand for the outputs.
        hints: Inner tensors that the user paired: the teacher's own names by the student's.
        findings: What paired by itself, and what is left out.
    """

    teacher: ir.Model
    answers: tuple[str, ...]
    hints: Names
    findings: tuple[Finding, ...] = ()


def adopt(student: ir.Model, teacher: ir.Model, inputs: Names, outputs: Names, hints: Names) -> Adopted:
    """The teacher as one to compare by equal names.

    Args:
        student: The student.
        teacher: The teacher.
        inputs: Pairs of inputs that the user gave.
        outputs: The same for outputs.
        hints: The same for inner tensors.

    Raises:
        ModelError: Where something has no partner.
    """
    naming = pair_models(student, teacher, inputs, outputs)
    under = renamed(teacher, naming)
    answers = _answers(student, under, naming.outputs)
    _check_hints(student, under, hints)
    return Adopted(aliased(under, {**hints, **answers}), tuple(answers), dict(hints), naming.findings)


def _answers(student: ir.Model, teacher: ir.Model, outputs: Iterable[str]) -> dict[str, str]:
    """The float tensors that stand for the outputs of these names in both, the teacher's by the student's.

    A tensor of the student that bears the same name in the teacher is compared with it where the output always had one
    name in both; else with the one at its place among those behind the output.
    """
    made, foreign = _tensors(teacher), teacher.meta.get(RENAMED, {}).values()
    theirs = {v.name: v for v in teacher.graph.outputs}
    pairs: dict[str, str] = {}
    for output in (v for v in student.graph.outputs if v.name in set(outputs)):
        mine = [v.name or "" for v in float_sources(output)]
        other = [v.name or "" for v in float_sources(theirs[output.name])]
        placed = dict(zip(mine, other, strict=True)) if len(mine) == len(other) else {}
        same = {n: n for n in mine if n in made}
        pairs |= {**same, **placed} if output.name in foreign else {**placed, **same}
    return pairs


def _check_hints(student: ir.Model, teacher: ir.Model, hints: Names) -> None:
    for names, model, whose in ((hints, student, "student"), (hints.values(), teacher, "teacher")):
        known = _tensors(model)
        for name in names:
            if name not in known:
                hint = "onnxcompress inspect MODEL names the tensors; write --hint STUDENT=TEACHER."
                why = f"no node of the {whose}'s main graph makes a tensor of that name"
                raise ModelError(
                    "cannot compare", where=f"option --hint, {name!r}", why=why, hint=hint, code="MODEL-TENSOR"
                )


def _tensors(model: ir.Model) -> set[str]:
    return {v.name or "" for node in model.graph for v in node.outputs}


def renamed(teacher: ir.Model, naming: Naming) -> ir.Model:
    """The teacher with the student's names of inputs and outputs; itself where they are the same."""
    pairs = [(mine, theirs) for names in (naming.inputs, naming.outputs) for mine, theirs in names.items()]
    if all(mine == theirs for mine, theirs in pairs):
        return teacher
    made = graph.clone(teacher)
    values = {v.name: v for v in (*made.graph.inputs, *made.graph.outputs)}
    moving = [(mine, values[theirs]) for mine, theirs in pairs if mine != theirs]
    for _, value in moving:
        value.name = f"{value.name}:teacher"
    for mine, value in moving:
        _make_room(made, mine)
        value.name = mine
    made.meta[RENAMED] = {theirs: mine for mine, theirs in pairs if mine != theirs}
    return made


def is_renamed(teacher: ir.Model) -> bool:
    """True for a teacher whose inputs or outputs had other names than the student's."""
    return bool(teacher.meta.get(RENAMED))


def aliased(teacher: ir.Model, names: Names) -> ir.Model:
    """The teacher with inner tensors under the student's names too: copies of them, named so."""
    names = {mine: theirs for mine, theirs in names.items() if mine != theirs}
    if not names:
        return teacher
    made = graph.clone(teacher)
    values = {v.name: v for node in made.graph for v in node.outputs}
    for mine, theirs in names.items():
        source = values[theirs]
        _make_room(made, mine)
        node = ir.node("Identity", [source], name=f"{mine}:alias")
        node.outputs[0].name, node.outputs[0].type, node.outputs[0].shape = mine, source.type, source.shape
        made.graph.append(node)
    return made


def _make_room(model: ir.Model, name: str) -> None:
    """Give whatever bears `name` another one."""
    values = [*model.graph.inputs, *model.graph.initializers.values(), *(v for n in model.graph for v in n.outputs)]
    for value in values:
        if value.name == name:
            value.name = f"{name}:own"
