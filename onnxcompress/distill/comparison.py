"""What of a student can be held against its teacher: outputs, inner tensors, and the teacher's size of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill import taps as tapping
from onnxcompress.distill.adoption import Adopted, is_renamed
from onnxcompress.distill.losses.detection import Part, find_parts
from onnxcompress.distill.outputs import KINDS, Answer, classify, float_sources
from onnxcompress.distill.taps import Tap
from onnxcompress.distill.teacher import Teacher
from onnxcompress.errors import ModelError, UsageError
from onnxcompress.runtime_options import RuntimeOptions

_MAP = 3
_HINT = "Pair other outputs with --pair STUDENT=TEACHER, or give the model that the student was made from."


@dataclass(frozen=True)
class Comparison:
    """The tensors of one pair.

    Attributes:
        answers: Those that stand for the outputs.
        taps: Inner ones.
        power: The teacher's mean square of each, over some samples.
        detections: Parts of the outputs of a detector.
        sizes: The student's number of classes or values, of outputs whose sets differ.
    """

    answers: tuple[Answer, ...]
    taps: tuple[Tap, ...]
    power: Mapping[str, float]
    detections: tuple[Part, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def classes(self) -> bool:
        """True where an output is a choice among classes."""
        return any(a.classes for a in self.answers)

    @property
    def foreign(self) -> tuple[Answer, ...]:
        """Outputs whose sets of classes or values differ."""
        return tuple(a for a in self.answers if a.foreign)

    @property
    def maps(self) -> tuple[Tap, ...]:
        """Taps that have positions beside channels."""
        return tuple(t for t in self.taps if t.rank >= _MAP)


def compare(
    student: ir.Model,
    adopted: Adopted,
    sizes: Mapping[str, tuple[int, ...]],
    feeds: Mapping[str, np.ndarray],
    runtime: RuntimeOptions,
    *,
    kinds: Mapping[str, str] | None = None,
    labels: bool = False,
) -> Comparison:
    """Match the tensors of both by name and size.

    Args:
        student: The student.
        adopted: The teacher, under the student's names.
        sizes: Sizes of the student's float tensors for `feeds`.
        feeds: Some samples.
        runtime: How both run.
        kinds: ``classes`` or ``values`` of outputs that the user knows about.
        labels: The data has class ids.

    Raises:
        ModelError: Where no output can be compared.
        UsageError: Where `kinds` names no output.
    """
    teacher, known = adopted.teacher, tensor_names(adopted.teacher)
    sizes = {name: size for name, size in sizes.items() if 0 not in size}
    outputs = [n for n in adopted.answers if n in sizes]
    if not outputs:
        why = "no float tensor behind its outputs has a counterpart in the teacher"
        raise ModelError("cannot distill", why=why, hint=_HINT, code="MODEL-TEACHER")
    # Of two networks of another make, the outputs alone bear one name, because they were paired.
    known -= set(adopted.answers) if is_renamed(teacher) else set[str]()
    names = list(adopted.hints) or [n for n in tapping.candidates(student) if n in sizes and n in known]
    tensors = Teacher(teacher, list(dict.fromkeys([*outputs, *names])), (), runtime).arrays(feeds)
    full = {n: a.shape for n, a in tensors.items()}
    taps = _taps(student, adopted, names, sizes, full)
    views = {t.name: t.teacher_view(tensors[t.name]) for t in taps}
    known_kinds = _behind_outputs(student, kinds or {}, outputs)
    found = {n: tensors[n] for n in outputs}
    answers = _answers(student, teacher, found, sizes, feeds, runtime, known_kinds, labels=labels)
    power = powers({n: tensors[n] for n in outputs} | views)
    widths = {a.name: sizes[a.name][a.axis] for a in answers if a.foreign}
    return Comparison(answers, tuple(taps), power, find_parts(answers, tensors), widths)


def _taps(
    student: ir.Model,
    adopted: Adopted,
    names: list[str],
    mine: Mapping[str, tuple[int, ...]],
    theirs: Mapping[str, tuple[int, ...]],
) -> list[Tap]:
    """Inner tensors: those that the user paired, else those of equal size, else all of equal name by projection.

    A chain that was cut everywhere has its outputs alone of equal size, and stays with them: on a VGG16 cut to 0.4 of
    its cost, all layers by projection ended at a third more error, or at no gain (by hand, two seeds).
    """
    if adopted.hints:
        return tapping.given(student, adopted.hints, mine, theirs)
    taps = tapping.match(student, names, mine, theirs)
    if not taps and tapping.same_plan(student, adopted.teacher):
        taps = tapping.spread(tapping.projected(student, names, mine, theirs))
    return taps


def _answers(
    student: ir.Model,
    teacher: ir.Model,
    tensors: Mapping[str, np.ndarray],
    sizes: Mapping[str, tuple[int, ...]],
    feeds: Mapping[str, np.ndarray],
    runtime: RuntimeOptions,
    kinds: Mapping[str, str],
    *,
    labels: bool,
) -> tuple[Answer, ...]:
    """The answers by the teacher's kind; of a student that is no copy of it, by its own kind too."""
    differing = {n: _foreign_axis(n, sizes[n], a.shape) for n, a in tensors.items() if a.shape != sizes[n]}
    theirs = classify(teacher, tensors, feeds, kinds=kinds, labels=labels)
    if not differing and not is_renamed(teacher):
        return tuple(theirs)
    made = Teacher(student, list(tensors), (), runtime).arrays(feeds)
    mine = classify(student, made, feeds, kinds=kinds, labels=labels)
    return tuple(_both(a, b, differing.get(a.name)) for a, b in zip(mine, theirs, strict=True))


def _both(mine: Answer, theirs: Answer, differing: int | None) -> Answer:
    kind = "values" if not theirs.classes else mine.kind if mine.classes else "logits"
    axis = theirs.axis if differing is None else differing
    return Answer(mine.name, kind, axis, theirs.kind, foreign=differing is not None, guessed=theirs.guessed)


def _behind_outputs(student: ir.Model, kinds: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """The kinds by the float tensors that stand for the outputs.

    Raises:
        UsageError: Where a name is no output.
    """
    behind = {output.name or "": [v.name or "" for v in float_sources(output)] for output in student.graph.outputs}
    found: dict[str, str] = {}
    for name, kind in kinds.items():
        places = [n for n in behind.get(name, [name]) if n in known]
        if not places or kind not in KINDS:
            why = f"{name!r} is no output that is compared" if not places else f"there is no kind {kind!r}"
            hint = f"Give OUTPUT=classes or OUTPUT=values; outputs are {', '.join(behind)}."
            raise UsageError(
                "cannot tell what an output is", where="option kind", why=why, hint=hint, code="USAGE-KIND"
            )
        found |= dict.fromkeys(places, kind)
    return found


def _foreign_axis(name: str, mine: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    """The one axis along which two outputs differ.

    Raises:
        ModelError: Where there are more, or the batch differs.
    """
    axes = [i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b]
    if len(mine) == len(theirs) and len(axes) == 1 and axes[0] > 0:
        return axes[0]
    why = f"the student gives {list(mine)}, the teacher {list(theirs)}"
    what, where = "teacher and student do not fit", f"output {name!r}"
    raise ModelError(what, where=where, why=why, hint=_HINT, code="MODEL-TEACHER")


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
