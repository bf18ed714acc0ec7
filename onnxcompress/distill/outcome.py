"""What a distillation tells its user: findings with figures."""

from __future__ import annotations

from collections.abc import Mapping

from onnxcompress.distill.course import Training
from onnxcompress.distill.measure import Closeness
from onnxcompress.report import Finding, Severity

Numbers = dict[str, float | int | str]


def figures(before: Closeness, after: Closeness) -> Numbers:
    """Error and agreement before and after."""
    numbers: Numbers = {"error_before": before.error, "error_after": after.error}
    if before.agreement is not None and after.agreement is not None:
        numbers |= {"agreement_before": before.agreement, "agreement_after": after.agreement}
    return numbers


def untrained(before: Closeness, *, asked: bool) -> Finding:
    """Nothing was trained: as asked, or because there is nothing to win."""
    numbers: Numbers = {"error_before": before.error}
    if before.agreement is not None:
        numbers["agreement_before"] = before.agreement
    if asked:
        message = "no step was asked for (--steps 0); the student was measured and left"
        return Finding("DISTILL-NO-STEPS", message, "", Severity.WARNING, numbers)
    shown = "" if before.agreement is None else f" ({100 * before.agreement:.1f} % equal classes)"
    message = f"the student already answers as its teacher does{shown}; there is nothing to gain, and it was left"
    return Finding("DISTILL-CLOSE", message, numbers=numbers)


def start_findings(before: Closeness) -> list[Finding]:
    """A warning where the student answers no numbers before anything is done."""
    if before.finite:
        return []
    message = (
        "before training the student answers held-out samples with NaN or infinity, from which no gradient leads away: "
        "its file may be damaged, or its numbers too large for its type"
    )
    return [Finding("DISTILL-STUDENT-NAN", message, "", Severity.WARNING)]


def judge_findings(
    training: Training, numbers: Mapping[str, float | int | str], *, better: bool, written: bool
) -> list[Finding]:
    """The verdict: trained, or left as it came; what had to be left out; why training ended early."""
    gained = training.gained
    return [*_stops(training), *_skipped(training), _verdict(numbers, better=better, written=written, gained=gained)]


def _verdict(numbers: Mapping[str, float | int | str], *, better: bool, written: bool, gained: bool) -> Finding:
    aim = numbers.get("aim", "teacher")
    own = "its teacher" if aim == "teacher" else f"the {aim}"
    if better and not gained:
        message = (
            f"repair alone brought the student closer, no step did; {numbers['weights']} weights: {_story(numbers)}"
        )
        return Finding("DISTILL-REPAIR-ONLY", message, "", Severity.WARNING, dict(numbers))
    if better:
        message = f"{numbers['weights']} weights were trained towards the {aim}: {_story(numbers)}"
        return Finding("DISTILL-TRAINED", message, numbers=dict(numbers))
    if written:
        message = f"the student is further from {own} than before; written as asked"
        return Finding("DISTILL-WORSE", message, "", Severity.WARNING, dict(numbers))
    message = f"the student did not come closer to {own}; it was left as it came"
    return Finding("DISTILL-NO-GAIN", message, "", Severity.WARNING, dict(numbers))


def _story(numbers: Mapping[str, float | int | str]) -> str:
    """Steps, rate, loss and samples; closeness before and after."""
    how = (
        f"{numbers['steps']} steps at rate {numbers['rate']:.2g}, loss {numbers['loss']}, {numbers['samples']} samples"
    )
    gains = [f"error {numbers['error_before']:.3g} -> {numbers['error_after']:.3g}"]
    if "agreement_after" in numbers:
        shares = [f"{100 * float(numbers[f'agreement_{when}']):.1f}" for when in ("before", "after")]
        gains.insert(0, f"equal classes {' -> '.join(shares)} %")
    return f"{how} in {numbers['seconds']:.3g} s; {', '.join(gains)} on {numbers['held_out']} held-out samples"


def _skipped(training: Training) -> list[Finding]:
    if not training.skipped:
        return []
    message = f"{training.skipped} steps were left out: a gradient was not finite; the rate was halved each time"
    return [Finding("DISTILL-NOT-FINITE", message, training.culprit, Severity.WARNING, {"steps": training.skipped})]


def _stops(training: Training) -> list[Finding]:
    told = {
        "close": ("DISTILL-STOP-CLOSE", "the student answers as its teacher does", Severity.INFO),
        "plateau": ("DISTILL-STOP-PLATEAU", "the student came no closer for a while", Severity.INFO),
        "not finite": ("DISTILL-GAVE-UP", "gradients were not finite step after step", Severity.WARNING),
    }
    if training.stop not in told:
        return []
    code, why, severity = told[training.stop]
    message = f"training stopped at step {training.steps}: {why}"
    message += "; lower the rate (--lr), or leave that layer out (--exclude)" if severity == Severity.WARNING else ""
    return [Finding(code, message, training.culprit, severity, {"step": training.steps})]
