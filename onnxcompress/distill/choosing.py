"""The objective of one distillation: what the user asked for, or what suits the pair and its data."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.distill.batches import Run
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.comparison import Comparison, is_quantized, is_reshaped
from onnxcompress.distill.losses.base import Term
from onnxcompress.distill.losses.head import HeadNorm, find_heads
from onnxcompress.distill.losses.recipe import (
    Offer,
    automatic,
    balanced,
    parse_loss,
    parse_temperatures,
    usable,
    without_hints,
)
from onnxcompress.distill.objective import Objective, build
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import UsageError
from onnxcompress.report import Finding


def choose(
    student: ir.Model, teacher: ir.Model, pair: Comparison, probe: Run, bridge: Bridge, settings: Settings
) -> tuple[Objective, list[Finding]]:
    """The objective, and what is to be told about it.

    Args:
        student: The student.
        teacher: The teacher, under the student's names.
        pair: What is compared.
        probe: Some samples.
        bridge: The student in torch.
        settings: Options.

    Raises:
        UsageError: Where an option does not fit the pair.
    """
    offer = _offer(student, teacher, pair, probe)
    findings = [_foreign(a.name) for a in pair.foreign]
    if settings.loss == "auto":
        weights = automatic(offer)
        findings += [without_hints()] if not offer.taps and (offer.reshaped or not offer.quantized) else []
    else:
        weights = usable(parse_loss(settings.loss), offer)
    weights = balanced(weights, offer, alpha=settings.alpha, beta=settings.beta, head_norm=settings.head_norm)

    def heads() -> Term:
        found = find_heads(bridge, teacher, [a.name for a in pair.answers])
        if not found:
            what, why = "no last layer to regularize", "no output comes from a Gemm, MatMul or Conv with a weight"
            raise UsageError(what, where="option head_norm", why=why, hint="Leave it out.", code="USAGE-LOSS")
        return HeadNorm(bridge, found)

    return build(weights, pair, settings.temperature, parse_temperatures(settings.loss), heads), findings


def _offer(student: ir.Model, teacher: ir.Model, pair: Comparison, probe: Run) -> Offer:
    return Offer(
        classes=pair.classes,
        taps=len(pair.taps),
        maps=len(pair.maps),
        labels=probe.labels is not None and _in_range(pair, probe),
        foreign=bool(pair.foreign),
        scores=bool(pair.detections),
        quantized=is_quantized(student),
        reshaped=is_reshaped(student, teacher),
    )


def _in_range(pair: Comparison, probe: Run) -> bool:
    """True where the labels can be classes of the student's, as far as the sets differ."""
    assert probe.labels is not None
    sizes = [pair.sizes[a.name] for a in pair.foreign if a.classes]
    return all(int(probe.labels.max()) < size for size in sizes)


def _foreign(name: str) -> Finding:
    message = (
        f"student and teacher have different sets of classes at output {name!r}: a learned matrix maps the teacher's "
        "to the student's"
    )
    return Finding("DISTILL-CLASSES", message, name)
