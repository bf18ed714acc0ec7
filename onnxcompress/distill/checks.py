"""What can be seen before training: samples that teach nothing, a teacher that answers nothing, roles that are swapped.

Some samples go through the teacher once. What makes training meaningless is an error; what makes it doubtful is a
warning with its figures, and training goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.data import DataSource, looks_like_noise
from onnxcompress.distill.batches import Run
from onnxcompress.distill.comparison import is_quantized
from onnxcompress.distill.label_checks import check_labels
from onnxcompress.distill.outputs import FOR_CLASSES, UNDECIDED, Answer, entropy_shares
from onnxcompress.distill.teacher import Teacher
from onnxcompress.errors import DataError
from onnxcompress.report import Finding, Severity

_INTEGER = {
    "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "MatMulInteger16", "MatMulIntegerToFloat", "QGemm",
    "DynamicQuantizeMatMul",
}  # fmt: skip
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Evidence:
    """Some training samples and what the teacher makes of them.

    Attributes:
        runs: The samples, as they were fed.
        answers: The teacher's tensors that stand for its outputs.
        made: Their arrays, one dict a run.
        places: Number of each sample in the data that the user gave, in the order of the runs' rows.
        synthetic: The samples are made up, and known to be.
    """

    runs: Sequence[Run]
    answers: Sequence[Answer]
    made: Sequence[Arrays]
    places: Sequence[int]
    synthetic: bool = False


def gather(
    runs: Sequence[Run], answers: Sequence[Answer], teacher: Teacher, source: DataSource, indices: np.ndarray
) -> Evidence:
    """Run the teacher on `runs`, which hold samples of `source` at `indices`."""
    # Of each run the answers alone: inner tensors of all runs together may not fit into memory.
    names = [answer.name for answer in answers]
    made = [{n: arrays[n] for n in names} for arrays in (teacher.arrays(run.feeds) for run in runs)]
    places = [source.origin(int(indices[row])) for run in runs for row in run.rows]
    return Evidence(runs, answers, made, places, source.synthetic)


def start_checks(student: ir.Model, teacher: ir.Model, evidence: Evidence, terms: Mapping[str, float]) -> list[Finding]:
    """Everything that is checked before training.

    Raises:
        DataError: Where a sample, or the teacher's answer to one, holds NaN or infinity.
    """
    found = [*check_evidence(evidence), *check_labels(evidence.runs, terms), *check_roles(student, teacher)]
    return [*found, *check_integers(student)]


def check_integers(student: ir.Model) -> list[Finding]:
    """A note where products are stored with integer weights, which have no gradient."""
    kinds = _integer_products(student)
    if not kinds:
        return []
    message = (
        f"the integer weights of {len(kinds)} nodes ({', '.join(sorted(set(kinds)))}) stay, and only what is around "
        "them is trained; in the form with Q/DQ nodes they are trained as well"
    )
    return [Finding("DISTILL-INTEGER-WEIGHTS", message, "", Severity.WARNING, {"nodes": len(kinds)})]


def _integer_products(model: ir.Model) -> list[str]:
    return [node.op_type for node in graph.iter_nodes(model) if node.op_type in _INTEGER]


def check_evidence(evidence: Evidence) -> list[Finding]:
    """What the samples and the teacher's answers to them tell.

    Raises:
        DataError: Where a sample, or the teacher's answer to one, holds NaN or infinity.
    """
    _refuse_not_finite(evidence, [run.feeds for run in evidence.runs], inputs=True)
    _refuse_not_finite(evidence, evidence.made, inputs=False)
    found = list(_noise(evidence))
    for answer in evidence.answers:
        arrays = [made[answer.name] for made in evidence.made]
        found += [*_guessed(answer), *_same_for_all(answer, arrays), *_undecided(answer, arrays, evidence)]
    return found


def check_roles(student: ir.Model, teacher: ir.Model) -> list[Finding]:
    """A warning where the teacher looks like the compressed one of the two, or is the student."""
    if same_weights(student, teacher):
        message = "student and teacher are the same model: give the one before compression as --teacher"
        return [Finding("DISTILL-SAME", message, "", Severity.WARNING)]
    mine, theirs = weight_count(student), weight_count(teacher)
    kinds = [is_quantized(model) or bool(_integer_products(model)) for model in (teacher, student)]
    quantized, smaller = kinds == [True, False], theirs < mine and kinds[0] == kinds[1]
    if not (quantized or smaller):
        return []
    why = "is quantized and the student is not" if quantized else f"has {theirs:,} weights and the student {mine:,}"
    message = f"the teacher {why}: are the two files swapped? The first is trained, --teacher is imitated"
    numbers: dict[str, float | int | str] = {"student_weights": mine, "teacher_weights": theirs}
    return [Finding("DISTILL-SWAPPED", message, "", Severity.WARNING, numbers)]


def same_weights(student: ir.Model, teacher: ir.Model) -> bool:
    """True where both have the same nodes by type and the same constants by name and bytes; stamps do not count."""
    if [n.op_type for n in graph.iter_nodes(student)] != [n.op_type for n in graph.iter_nodes(teacher)]:
        return False
    mine, theirs = _constants(student), _constants(teacher)
    return mine.keys() == theirs.keys() and all(_equal(tensor, theirs[name]) for name, tensor in mine.items())


def weight_count(model: ir.Model) -> int:
    """Numbers in the constants of a model: initializers and Constant nodes, subgraphs and functions too."""
    return sum(tensor.size for tensor in _constants(model).values() if tensor is not None)


def _constants(model: ir.Model) -> dict[tuple[int, str], ir.TensorProtocol | None]:
    """Every constant by its scope and name."""
    found: dict[tuple[int, str], ir.TensorProtocol | None] = {}
    for place, scope in enumerate(graph.scopes(model)):
        if isinstance(scope, ir.Graph):
            found |= {(place, name): value.const_value for name, value in scope.initializers.items()}
        made = [node.outputs[0] for node in scope if node.op_type == "Constant"]
        found |= {(place, value.name or ""): graph.tensor_of(value) for value in made}
    return found


def _equal(a: ir.TensorProtocol | None, b: ir.TensorProtocol | None) -> bool:
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and np.array_equal(a.numpy(), b.numpy())


def _refuse_not_finite(evidence: Evidence, arrays: Sequence[Arrays], *, inputs: bool) -> None:
    names = list(arrays[0]) if inputs else [a.name for a in evidence.answers]
    for name in names:
        bad = np.concatenate([_broken(run, made[name]) for run, made in zip(evidence.runs, arrays, strict=True)])
        if bad.any():
            place = evidence.places[int(np.argmax(bad))]
            raise _not_finite(name, place, int(bad.sum()), len(bad), inputs=inputs)


def _broken(run: Run, array: np.ndarray) -> np.ndarray:
    """For each sample of a run: does its part of `array` hold NaN or infinity?"""
    count = len(run.rows)
    if array.dtype.kind != "f":
        return np.zeros(count, bool)
    if not array.ndim or len(array) < count:  # no axis of samples in front: the whole run is to blame
        return np.full(count, not np.isfinite(array).all())
    return np.asarray(~np.isfinite(array[:count].reshape(count, -1)).all(axis=1))


def _not_finite(name: str, place: int, count: int, of: int, *, inputs: bool) -> DataError:
    if inputs:
        what, where, hint = "the data cannot be used", f"sample {place} of input {name!r}", "Repair it or leave it out."
        return DataError(what, where=where, why="it holds NaN or infinity", hint=hint, code="DATA-NAN")
    hint = "Leave such samples out."
    if count == of:
        hint = "The teacher file may be damaged, or the samples not be prepared as it expects (--preset, --scale)."
    why = f"the teacher answers {count} of {of} samples with NaN or infinity, which nothing can imitate"
    where = f"output {name!r}, sample {place}"
    return DataError("cannot distill", where=where, why=why, hint=hint, code="DATA-TEACHER-NAN")


def _noise(evidence: Evidence) -> Iterator[Finding]:
    names = [name for name in evidence.runs[0].feeds if looks_like_noise(_joined(evidence.runs, name))]
    if not names and not evidence.synthetic:
        return
    message = "the samples are noise: distilling on noise does not work, whatever it seems to gain; give real ones"
    yield Finding("DISTILL-NOISE", message, names[0] if names else "", Severity.WARNING)


def _joined(runs: Sequence[Run], name: str) -> np.ndarray:
    """An input over all runs whose sizes are those of the first."""
    arrays = [run.feeds[name] for run in runs]
    return np.concatenate([a for a in arrays if a.shape[1:] == arrays[0].shape[1:]]) if arrays[0].ndim else arrays[0]


def _same_for_all(answer: Answer, arrays: Sequence[np.ndarray]) -> Iterator[Finding]:
    if len({a.shape[1:] for a in arrays if a.ndim}) != 1:
        return
    joined = np.concatenate([a for a in arrays if a.ndim]).astype(np.float64)
    count, name = len(joined), answer.name
    if count < 2:
        return
    if np.ptp(joined, axis=0).max(initial=0.0) <= 1e-5 * np.abs(joined).max(initial=0.0):
        message = f"the teacher gives the same {name!r} for all {count} samples: nothing can be learned from them"
    elif answer.classes and joined.ndim == 2 and count >= FOR_CLASSES and np.ptp(joined.argmax(1)) == 0:
        message = (
            f"the teacher puts all {count} samples into class {int(joined[0].argmax())}: give samples of all kinds, "
            "prepared as it expects"
        )
    else:
        return
    yield Finding("DISTILL-TEACHER-CONSTANT", message, name, Severity.WARNING, {"samples": count})


def _guessed(answer: Answer) -> Iterator[Finding]:
    """What ends in a linear layer, and whose numbers are those of no classifier."""
    if answer.guessed:
        name = answer.name
        message = (
            f"{name!r} could be scores of classes, but as such the teacher's numbers would say nothing, or always the "
            f"same: they are compared as values. --kind {name}=values says that they are; if they are classes, say "
            f"{name}=classes, and prepare the samples as the model expects (--preset, --scale)"
        )
        yield Finding("DISTILL-VALUES", message, name, Severity.WARNING)


def _undecided(answer: Answer, arrays: Sequence[np.ndarray], evidence: Evidence) -> Iterator[Finding]:
    """A teacher that finds all its classes about equally likely does not know what it sees."""
    if not answer.classes:
        return
    found = np.concatenate([entropy_shares(a, answer.axis, answer.teacher_kind) for a in arrays])
    share = float(found.mean())
    if share <= UNDECIDED:
        return
    low, high = _span(evidence)
    message = (
        f"the teacher is undecided on these samples: the entropy of {answer.name!r} is {100 * share:.1f} % of the most "
        f"possible. They seem not prepared as it expects; they range from {low:.4g} to {high:.4g} "
        "(--preset, --scale, --mean, --std)"
    )
    numbers: dict[str, float | int | str] = {"entropy": share, "low": low, "high": high, "samples": len(found)}
    yield Finding("DISTILL-TEACHER-UNDECIDED", message, answer.name, Severity.WARNING, numbers)


def _span(evidence: Evidence) -> tuple[float, float]:
    """Smallest and largest value of the float inputs."""
    floats = [a for run in evidence.runs for a in run.feeds.values() if a.dtype.kind == "f" and a.size]
    if not floats:
        return 0.0, 0.0
    return float(min(a.min() for a in floats)), float(max(a.max() for a in floats))
