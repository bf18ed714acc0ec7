"""Which input, output and inner tensor of the teacher stands for which of the student.

Names that are equal pair first. What is left pairs by itself where there is one way to do it: inputs by type and sizes,
outputs in their order where number and sizes agree. The user's pairs go before all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxcompress.errors import ModelError, UsageError
from onnxcompress.report import Finding
from onnxcompress.runtime import real_inputs

Names = Mapping[str, str]

RENAMED = "onnxcompress.names"
"""Metadata of a teacher that was renamed: the student's names by its own."""


@dataclass(frozen=True)
class Naming:
    """The teacher's names by the student's.

    Attributes:
        inputs: Of the inputs.
        outputs: Of the outputs that are compared.
        findings: What paired by itself, and what is left out.
    """

    inputs: Names
    outputs: Names
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Side:
    """Inputs or outputs of both.

    Attributes:
        what: ``input`` or ``output``.
        flag: The option that pairs them by name.
        mine: The student's.
        theirs: The teacher's.
    """

    what: str
    flag: str
    mine: dict[str, ir.Value]
    theirs: dict[str, ir.Value]

    def refuse(self, where: str, why: str) -> ModelError:
        """The error that names both sides and the way out."""
        hint = f"Pair them with {self.flag} STUDENT=TEACHER, or give a model that the student was made from."
        why = f"{why}; the student has {_listed(self.mine)}, the teacher {_listed(self.theirs)}"
        return ModelError("teacher and student do not fit", where=where, why=why, hint=hint, code="MODEL-TEACHER")


_NAMES = "STUDENT=TEACHER with the tensor's name in each model"


def parse_pairs(texts: Iterable[str], flag: str, *, same: bool = False, form: str = _NAMES) -> dict[str, str]:
    """``STUDENT=TEACHER`` texts, or others of that `form`, as a mapping; with `same` a name alone stands for both.

    Raises:
        UsageError: Where a text is no pair.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        mine, found, theirs = text.partition("=")
        if not mine or (found and not theirs) or not (found or same):
            hint = f"Write {flag} {form}."
            raise UsageError(f"{text!r} is no pair of names", where=f"option {flag}", hint=hint, code="USAGE-PAIR")
        pairs[mine] = theirs or mine
    return pairs


def pair_models(
    student: ir.Model, teacher: ir.Model, inputs: Names | None = None, outputs: Names | None = None
) -> Naming:
    """Pair inputs and outputs.

    Args:
        student: The student.
        teacher: The teacher.
        inputs: Pairs that the user gave.
        outputs: The same for outputs; outputs without a partner are then left out.

    Raises:
        ModelError: Where something has no partner, naming both sides and the option that pairs them.
    """
    before = teacher.meta.get(RENAMED, {})
    inputs, outputs = ({m: before.get(t, t) for m, t in (pairs or {}).items()} for pairs in (inputs, outputs))
    given = _Side("input", "--map-teacher", _named(real_inputs(student)), _named(real_inputs(teacher)))
    made = _Side("output", "--pair", _named(student.graph.outputs), _named(teacher.graph.outputs))
    fed = _pair(given, inputs, _by_kind, _sizes_agree)
    missing = [name for name in given.theirs if name not in fed.values()]
    if missing:
        raise given.refuse(f"input {missing[0]!r}", "the student has no input that feeds it")
    answered = _pair(made, outputs, _in_order, _all_but_one_agree, partly=bool(outputs))
    return Naming(fed, answered, findings=tuple(_findings(given, fed, inputs) + _findings(made, answered, outputs)))


def _pair(
    side: _Side,
    told: Names,
    guess: Callable[[list[ir.Value], list[ir.Value]], dict[str, str]],
    agree: Callable[[ir.Value, ir.Value], bool],
    *,
    partly: bool = False,
) -> dict[str, str]:
    for names, known, whose in ((told, side.mine, "student"), (told.values(), side.theirs, "teacher")):
        for name in names:
            if name not in known:
                raise side.refuse(f"option {side.flag}", f"the {whose} has no {side.what} {name!r}")
    pairs = dict(told)
    pairs |= {n: n for n in side.mine if n not in pairs and n in side.theirs and n not in told.values()}
    rest = [v for n, v in side.mine.items() if n not in pairs]
    found = {} if partly else guess(rest, [v for n, v in side.theirs.items() if n not in pairs.values()])
    pairs |= found
    if len(found) < len(rest) and not partly:
        name = next(v.name for v in rest if v.name not in found)
        raise side.refuse(f"{side.what} {name!r}", f"nothing tells which {side.what} of the teacher it is")
    for mine, theirs in pairs.items():
        if not agree(side.mine[mine], side.theirs[theirs]):
            raise side.refuse(f"{side.what} {mine!r}", f"its sizes are not those of the teacher's {theirs!r}")
    return {n: pairs[n] for n in side.mine if n in pairs}


def _by_kind(rest: list[ir.Value], free: list[ir.Value]) -> dict[str, str]:
    """Pairs of which both sides have but one of that type and those sizes."""
    fits = {v.name or "": [f for f in free if v.dtype == f.dtype and _sizes_agree(v, f)] for v in rest}
    sole = {name: found[0].name or "" for name, found in fits.items() if len(found) == 1}
    return {name: other for name, other in sole.items() if list(sole.values()).count(other) == 1}


def _in_order(rest: list[ir.Value], free: list[ir.Value]) -> dict[str, str]:
    """Equal number, each of sizes that agree (one axis, the classes, may differ where there is one output alone)."""
    agree = _all_but_one_agree if len(rest) == 1 else _sizes_agree
    if len(rest) == len(free) and all(agree(a, b) for a, b in zip(rest, free, strict=True)):
        return {a.name or "": b.name or "" for a, b in zip(rest, free, strict=True)}
    return _by_kind(rest, free)


def _sizes_agree(a: ir.Value, b: ir.Value) -> bool:
    return _differences(a, b) == []


def _all_but_one_agree(a: ir.Value, b: ir.Value) -> bool:
    """Sets of classes may differ, along one axis that is not the batch."""
    found = _differences(a, b)
    return found is not None and (not found or (len(found) == 1 and found[0] > 0))


def _differences(a: ir.Value, b: ir.Value) -> list[int] | None:
    """Axes whose known sizes differ; None where the ranks do."""
    if a.shape is None or b.shape is None:
        return []
    if len(a.shape) != len(b.shape):
        return None
    pairs = enumerate(zip(a.shape, b.shape, strict=True))
    return [i for i, (x, y) in pairs if isinstance(x, int) and isinstance(y, int) and x != y]


def _findings(side: _Side, pairs: Names, told: Names) -> list[Finding]:
    guessed = {m: t for m, t in pairs.items() if m != t and m not in told}
    found = [
        Finding("DISTILL-PAIRED", f"{side.what} {m!r} of the student was held to be the teacher's {t!r}", m)
        for m, t in guessed.items()
    ]
    left = [m for m in side.mine if m not in pairs]
    if left:
        message = f"{side.what}s of the student that are compared with nothing: {', '.join(left)}"
        found.append(Finding("DISTILL-UNPAIRED", message, left[0]))
    return found


def _named(values: Sequence[ir.Value]) -> dict[str, ir.Value]:
    return {v.name or "": v for v in values}


def _listed(values: Mapping[str, ir.Value]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items()) or "none"


def _shown(value: ir.Value) -> str:
    dims = "?" if value.shape is None else ",".join(str(d) for d in value.shape)
    return f"{'' if value.dtype is None else value.dtype.name.lower()}[{dims}]"
