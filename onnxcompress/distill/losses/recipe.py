"""Which terms a student gets, and with which weights.

``auto`` follows measurements on pruned and quantized networks: a student whose shapes differ from the teacher's learns
most from hints with a fifth of soft targets; one that only was quantized from soft targets; one without classes from
squared errors. Different sets of classes take the learned matrix, and labels where there are any, since nothing else
says what the student's classes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxcompress.errors import UsageError
from onnxcompress.report import Finding

TERMS = ("hints", "at", "kl", "std", "mse", "cos", "wt", "det", "ce")
REGULARIZERS = ("entropy", "head-norm")
# Terms that compare outputs class by class, or value by value.
_ALIKE = {"kl", "std", "mse", "cos", "det"}


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a pair and its data offer to the terms.

    Attributes:
        classes: An output is a choice among classes.
        taps: Inner tensors to compare.
        maps: Those of them with positions beside channels.
        labels: The data holds class ids.
        foreign: Student and teacher have different sets of classes or values.
        scores: An output holds scores of boxes.
        quantized: The student holds Q/DQ pairs or integers.
        reshaped: The student's weights have other sizes than the teacher's.
    """

    classes: bool = True
    taps: int = 0
    maps: int = 0
    labels: bool = False
    foreign: bool = False
    scores: bool = False
    quantized: bool = False
    reshaped: bool = False


def parse_loss(text: str) -> dict[str, float]:
    """``hints:0.8,kl:0.2@T=2`` as weights by term; a term without a number counts 1.

    Raises:
        UsageError: Where a term or a number is unknown.
    """
    return {name: weight for name, weight, _ in _parts(text)}


def parse_temperatures(text: str) -> dict[str, float]:
    """The temperatures that ``--loss`` gives to single terms."""
    return {name: temperature for name, _, temperature in _parts(text) if temperature is not None}


def _parts(text: str) -> list[tuple[str, float, float | None]]:
    if text == "auto":
        return []
    return [_part(part.strip()) for part in text.split(",")]


def _part(text: str) -> tuple[str, float, float | None]:
    head, at, temperature = text.partition("@T=")
    name, colon, weight = head.partition(":")
    try:
        share, heat = float(weight) if colon else 1.0, float(temperature) if at else None
    except ValueError:
        share, heat = -1.0, None
    if name not in TERMS or not share > 0 or (heat is not None and not heat > 0):
        hint = f"Use auto, or terms {', '.join(TERMS)} with weights above 0, e.g. hints:0.8,kl:0.2 or std:1@T=2."
        raise UsageError(f"unknown loss {text!r}", where="option loss", hint=hint, code="USAGE-LOSS")
    return name, share, heat


def automatic(offer: Offer) -> dict[str, float]:
    """The terms for a student, from what is known about it."""
    output = "wt" if offer.foreign else "kl" if offer.classes else "mse"
    if offer.foreign:
        named = [*(["hints"] if offer.taps else []), output, *(["ce"] if offer.classes and offer.labels else [])]
        return dict.fromkeys(named, round(1 / len(named), 3))
    if not offer.taps or (offer.quantized and not offer.reshaped):
        return {output: 1.0}
    return {"hints": 0.8, output: 0.2} if offer.classes else {"hints": 0.5, output: 0.5}


def usable(weights: Mapping[str, float], offer: Offer) -> dict[str, float]:
    """The asked-for terms, checked against what student and data offer.

    Raises:
        UsageError: Where a term cannot be computed.
    """
    no_classes, inside = "the model has no class output", "Give --hint STUDENT=TEACHER, or use kl or mse."
    lacking = {
        "hints": (not offer.taps, "student and teacher share no inner tensor of equal size", inside),
        "at": (not offer.maps, "student and teacher share no inner tensor with positions beside channels", inside),
        "kl": (not offer.classes, no_classes, "Use mse."),
        "std": (not offer.classes, no_classes, "Use mse."),
        "ce": (not offer.labels or not offer.classes, "it needs labels and a class output", "Give labels, or use kl."),
        "det": (not offer.scores, "no output holds scores between 0 and 1, one for each box", "Use mse."),
    }
    for name in weights:
        missing, why, hint = lacking.get(name, (False, "", ""))
        if offer.foreign and name in _ALIKE:
            missing, why, hint = True, "student and teacher have different sets of classes", "Use wt."
        if missing:
            raise UsageError(
                f"the loss {name} cannot be used", where="option loss", why=why, hint=hint, code="USAGE-LOSS"
            )
    return dict(weights)


def balanced(
    weights: Mapping[str, float], offer: Offer, *, alpha: float | None, beta: float, head_norm: float
) -> dict[str, float]:
    """The terms with what the options alpha, beta and head-norm make of them.

    alpha L(teacher) + (1 - alpha) CE(labels) + beta H(student) + head_norm N(last layer)

    Raises:
        UsageError: Where one of them cannot be used.
    """
    made = dict(weights)
    if alpha is not None:
        teacher = {n: w for n, w in weights.items() if n != "ce"}
        total = sum(teacher.values())
        made = {n: alpha * w / total for n, w in teacher.items() if alpha > 0}
        made |= usable({"ce": 1 - alpha}, offer) if alpha < 1 else {}
    if beta and not offer.classes:
        where, why = "option beta", "the model has no class output"
        raise UsageError("no entropy can be measured", where=where, why=why, hint="Leave it out.", code="USAGE-LOSS")
    return made | ({"entropy": beta} if beta else {}) | ({"head-norm": head_norm} if head_norm else {})


def labels_alone(weights: Mapping[str, float]) -> bool:
    """True where no term looks at the teacher, so that labels are the aim by which a student is measured as well."""
    return set(weights) - set(REGULARIZERS) == {"ce"}


def without_hints() -> Finding:
    """Why a student that could use hints gets none."""
    message = (
        "no tensor inside bears the same name and size in student and teacher, so only outputs are compared; "
        "--hint STUDENT=TEACHER compares others"
    )
    return Finding("DISTILL-NO-HINTS", message)
