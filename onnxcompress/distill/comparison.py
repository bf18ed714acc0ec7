"""What of a student can be held against its teacher: outputs, inner tensors, and the teacher's size of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill import taps as tapping
from onnxcompress.distill.outputs import Answer, answer_tensors, classify
from onnxcompress.distill.taps import Tap
from onnxcompress.distill.teacher import Teacher
from onnxcompress.errors import ModelError
from onnxcompress.runtime_options import RuntimeOptions

_HINT = "Give the model that the student was made from."


@dataclass(frozen=True)
class Comparison:
    """The tensors of one pair.

    Attributes:
        answers: Those that stand for the outputs.
        taps: Inner ones.
        power: The teacher's mean square of each, over some samples.
    """

    answers: tuple[Answer, ...]
    taps: tuple[Tap, ...]
    power: Mapping[str, float]

    @property
    def classes(self) -> bool:
        """True where an output is a choice among classes."""
        return any(a.classes for a in self.answers)


def compare(
    student: ir.Model,
    teacher: ir.Model,
    sizes: Mapping[str, tuple[int, ...]],
    feeds: Mapping[str, np.ndarray],
    runtime: RuntimeOptions,
) -> Comparison:
    """Match the tensors of both by name and size.

    Args:
        student: The student.
        teacher: The teacher.
        sizes: Sizes of the student's float tensors for `feeds`.
        feeds: Some samples.
        runtime: How the teacher runs.

    Raises:
        ModelError: Where no output can be compared.
    """
    known = tensor_names(teacher)
    outputs = [n for n in answer_tensors(student) if n in sizes and n in known]
    if not outputs:
        why = "no float tensor behind its outputs bears the same name in the teacher"
        raise ModelError("cannot distill", why=why, hint=_HINT, code="MODEL-TEACHER")
    names = [n for n in tapping.candidates(student) if n in sizes and n in known]
    tensors = Teacher(teacher, list(dict.fromkeys([*outputs, *names])), (), runtime).arrays(feeds)
    for name in outputs:
        if tensors[name].shape != sizes[name]:
            why = f"the student gives {sizes[name]}, the teacher {tensors[name].shape}"
            what, where = "teacher and student do not fit", f"output {name!r}"
            raise ModelError(what, where=where, why=why, hint=_HINT, code="MODEL-TEACHER")
    matched = tapping.match(student, names, sizes, {n: a.shape for n, a in tensors.items()})
    views = {t.name: t.teacher_view(tensors[t.name]) for t in matched}
    answers = classify(teacher, {n: tensors[n] for n in outputs})
    return Comparison(tuple(answers), tuple(matched), powers({n: tensors[n] for n in outputs} | views))


def tensor_names(model: ir.Model) -> set[str | None]:
    """Names of all tensors that nodes of the main graph make."""
    return {value.name for node in model.graph for value in node.outputs}


def is_quantized(model: ir.Model) -> bool:
    """True where the model holds Q/DQ pairs or integer weights."""
    return any(node.op_type == "DequantizeLinear" for node in graph.iter_nodes(model))


def is_reshaped(student: ir.Model, teacher: ir.Model) -> bool:
    """True where a constant of the same name has other sizes in the two."""
    theirs = {name: value.const_value for name, value in teacher.graph.initializers.items()}
    mine = {name: value.const_value for name, value in student.graph.initializers.items()}
    pairs = ((mine[name], theirs[name]) for name in mine.keys() & theirs.keys())
    return any(a is not None and b is not None and tuple(a.shape) != tuple(b.shape) for a, b in pairs)


def powers(tensors: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Mean square of each tensor, never zero."""
    return {n: max(float(np.mean(np.square(a, dtype=np.float64))), 1e-12) for n, a in tensors.items()}
