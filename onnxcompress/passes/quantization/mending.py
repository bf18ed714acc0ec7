"""Steps on the written integer model that stay only where the judge finds the outputs nearer to the float ones.

Each step edits integers and biases of a working copy; the copy takes the model's place where it is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import clone
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.judge import Judge, Verdict
from onnxcompress.passes.quantization.rounding.correction import correct_bias
from onnxcompress.report import Finding

_SAMPLES = 128

Step = Callable[[ir.Model], Iterable[Finding]]


def mend(draft: Draft, teacher: ir.Model, judge: Judge) -> Iterator[Finding]:
    """Run the steps that the effort asks for on ``draft.model`` (edited by now), and report the last verdict.

    Args:
        draft: The draft, written.
        teacher: The float model.
        judge: Holds the float outputs.
    """
    if judge.blind:
        return
    verdict = judge.look_at(draft.model)
    for name, step in _steps(draft, teacher):
        verdict, findings = attempt(name, step, draft.model, judge, verdict)
        yield from findings
    yield _judged(verdict, judge)


def attempt(name: str, step: Step, model: ir.Model, judge: Judge, before: Verdict) -> tuple[Verdict, list[Finding]]:
    """Run one step on a copy, and keep the copy where it is better."""
    copy = clone(model)
    told = list(step(copy))
    after = judge.look_at(copy)
    kept = after.better_than(before)
    if kept:
        model.graph = copy.graph
    verb = "kept" if kept else "dropped"
    message = f"{name} {verb}: {before.decibels:.1f} dB without it, {after.decibels:.1f} dB with it"
    numbers: dict[str, float | int | str] = {
        "before_db": round(before.decibels, 2),
        "after_db": round(after.decibels, 2),
        "kept": int(kept),
    }
    summary = Finding("QUANT-STEP", message, numbers=numbers)
    return (after, [*told, summary]) if kept else (before, [summary])


def _steps(draft: Draft, teacher: ir.Model) -> list[tuple[str, Step]]:
    samples = draft.calibration.subset(_evenly(len(draft.calibration), _SAMPLES))
    return [("bias correction", lambda model: correct_bias(model, teacher, samples, draft.ctx))]


def _evenly(count: int, most: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def _judged(verdict: Verdict, judge: Judge) -> Finding:
    message = (
        f"on {judge.samples} samples that nothing was chosen on, the outputs are {verdict.decibels:.1f} dB above "
        f"their error and {100 * verdict.agreement:.1f} % of the classes stay"
    )
    numbers: dict[str, float | int | str] = {
        "error_db": round(verdict.decibels, 2),
        "agreement": round(verdict.agreement, 4),
        "samples": judge.samples,
    }
    return Finding("QUANT-JUDGED", message, numbers=numbers)
