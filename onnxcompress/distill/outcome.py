"""What a distillation tells its user: findings with figures."""

from __future__ import annotations

from collections.abc import Mapping

from onnxcompress.distill.measure import Closeness
from onnxcompress.distill.trainer import Training
from onnxcompress.report import Finding, Severity

Numbers = dict[str, float | int | str]


def figures(before: Closeness, after: Closeness) -> Numbers:
    """Error and agreement before and after."""
    numbers: Numbers = {"error_before": before.error, "error_after": after.error}
    if before.agreement is not None and after.agreement is not None:
        numbers |= {"agreement_before": before.agreement, "agreement_after": after.agreement}
    return numbers


def judge_findings(training: Training, numbers: Mapping[str, float | int | str], *, better: bool) -> list[Finding]:
    """The verdict: trained, or left as it came; and steps that had to be left out."""
    findings: list[Finding] = []
    if training.skipped:
        message = f"{training.skipped} steps were left out: a gradient was not finite"
        counted: Numbers = {"steps": training.skipped}
        findings.append(Finding("DISTILL-NOT-FINITE", message, training.culprit, Severity.WARNING, counted))
    if better:
        message = f"{numbers['weights']} weights were trained towards the teacher"
        findings.append(Finding("DISTILL-TRAINED", message, numbers=dict(numbers)))
    else:
        message = "the student did not come closer to its teacher; it was left as it came"
        findings.append(Finding("DISTILL-NO-GAIN", message, "", Severity.WARNING, dict(numbers)))
    return findings
