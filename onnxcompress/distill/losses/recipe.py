"""Which terms a student gets, and with which weights.

``auto`` follows measurements on pruned and quantized networks: a student whose shapes differ from the teacher's learns
most from hints with a fifth of soft targets; one that only was quantized from soft targets; one without classes from
squared errors.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnxcompress.errors import UsageError
from onnxcompress.report import Finding

TERMS = ("hints", "kl", "mse", "ce")


def parse_loss(text: str) -> dict[str, float]:
    """``hints:0.8,kl:0.2`` as weights by term; a term without a number counts 1.

    Raises:
        UsageError: Where a term or a number is unknown.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition(":")
        try:
            weights[name] = float(number or 1.0)
        except ValueError:
            weights[name] = -1.0
        if name not in TERMS or weights[name] <= 0:
            hint = "Use auto, or terms hints, kl, mse, ce with weights above 0, e.g. hints:0.8,kl:0.2."
            raise UsageError(f"unknown loss {part.strip()!r}", where="option loss", hint=hint, code="USAGE-LOSS")
    return weights


def automatic(*, quantized: bool, reshaped: bool, classes: bool, taps: int) -> dict[str, float]:
    """The terms for a student, from what is known about it."""
    output = "kl" if classes else "mse"
    if not taps or (quantized and not reshaped):
        return {output: 1.0}
    return {"hints": 0.8, output: 0.2} if classes else {"hints": 0.5, output: 0.5}


def usable(weights: Mapping[str, float], *, classes: bool, taps: int, labels: bool) -> dict[str, float]:
    """The asked-for terms, checked against what student and data offer.

    Raises:
        UsageError: Where a term cannot be computed.
    """
    lacking = {
        "hints": (
            not taps,
            "student and teacher share no inner tensor of equal size",
            "Give --hint STUDENT=TEACHER, or use kl or mse.",
        ),
        "kl": (not classes, "the model has no class output", "Use mse."),
        "ce": (not labels or not classes, "it needs labels and a class output", "Give labels, or use kl."),
    }
    for name in weights:
        missing, why, hint = lacking.get(name, (False, "", ""))
        if missing:
            raise UsageError(
                f"the loss {name} cannot be used", where="option loss", why=why, hint=hint, code="USAGE-LOSS"
            )
    return dict(weights)


def without_hints() -> Finding:
    """Why a student that could use hints gets none."""
    message = (
        "no tensor inside bears the same name and size in student and teacher, so only outputs are compared; "
        "--hint STUDENT=TEACHER compares others"
    )
    return Finding("DISTILL-NO-HINTS", message)
