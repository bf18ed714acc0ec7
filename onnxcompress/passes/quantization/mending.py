"""Steps on the written integer model that stay only where the judge finds the outputs nearer to the float ones.

Each step edits integers and biases of a working copy; the copy takes the model's place where it is better.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

import onnx_ir as ir

from onnxcompress.graph import clone
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.judge import Judge, Verdict
from onnxcompress.passes.quantization.ranges import spread
from onnxcompress.passes.quantization.rounding.correction import correct_bias
from onnxcompress.passes.quantization.rounding.rounding import round_weights
from onnxcompress.passes.quantization.weights import RECURRENT_OPS, weights_left_float
from onnxcompress.report import Finding, Severity

_SAMPLES = 128
_MANY_SAMPLES = 256  # for weights, which are many more numbers than biases
_MORE = 1.6  # factor by which int8 weights of float nodes may raise the squared error (2 dB)
_FINE = 0.003  # squared error (25 dB) up to which they are stored in any case
_LOUD = 0.01  # squared error (20 dB) from which a step that adds to it is a warning
_RECURRENT = 0.2  # the same for recurrent nodes (7 dB), whose file is nearly all weights: stored, and said so

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
    if not draft.plan.linear:
        yield judged(verdict, judge)
        return
    for name, step in _steps(draft, teacher):
        verdict, findings = attempt(name, step, draft.model, judge, verdict)
        yield from findings
    yield judged(verdict, judge)


def store(draft: Draft, judge: Judge) -> Iterator[Finding]:
    """Int8 weights for the nodes that stay float, one kind of node after the other, as far as the outputs bear it."""
    ctx, before = draft.ctx, None if judge.blind else judge.look_at(draft.model)
    for kinds in _kinds(draft.model, ctx.target.weight_only):
        copy = clone(draft.model)
        narrowed = replace(ctx, target=replace(ctx.target, weight_only=kinds))
        told = list(weights_left_float(copy, narrowed, per_channel=draft.options.per_channel))
        if not any(finding.code == "QUANT-WEIGHTS" for finding in told):
            yield from told
            continue
        after = None if judge.blind else judge.look_at(copy)
        limit = _RECURRENT if set(kinds) & set(RECURRENT_OPS) else _FINE
        if before is None or after is None or after.error <= max(_MORE * before.error, limit):
            yield from told
            if before is not None and after is not None:
                yield _stored(kinds, before, after)
            draft.model.graph, before = copy.graph, after
        else:
            yield _costly(kinds, before, after)


def _kinds(model: ir.Model, allowed: Collection[str]) -> list[tuple[str, ...]]:
    """Recurrent nodes, tables, and products, as far as the model has them."""
    there = {node.op_type for node in model.graph} & set(allowed)
    parts = (RECURRENT_OPS, ("Gather",), ("Conv", "ConvTranspose", "MatMul", "Gemm"))
    found = [tuple(op for op in part if op in there) for part in parts]
    return [part for part in found if part]


def _stored(kinds: tuple[str, ...], before: Verdict, after: Verdict) -> Finding:
    message = (
        f"int8 weights of {', '.join(kinds)} that compute in float: the outputs go from {before.decibels:.1f} dB to "
        f"{after.decibels:.1f} dB"
    )
    severity = Severity.WARNING if after.error > max(_MORE * before.error, _LOUD) else Severity.INFO
    return Finding("QUANT-STEP", message, severity=severity, numbers=_numbers(before, after, kept=True))


def _numbers(before: Verdict, after: Verdict, *, kept: bool) -> dict[str, float | int | str]:
    return {"before_db": round(before.decibels, 2), "after_db": round(after.decibels, 2), "kept": int(kept)}


def _costly(kinds: tuple[str, ...], before: Verdict, after: Verdict) -> Finding:
    message = (
        f"weights of {', '.join(kinds)} stay float: as int8 they take the outputs from {before.decibels:.1f} dB to "
        f"{after.decibels:.1f} dB; `run quantize-weights` stores them all the same"
    )
    return Finding("QUANT-INEXACT", message, severity=Severity.WARNING)


def attempt(
    name: str,
    step: Step,
    model: ir.Model,
    judge: Judge,
    before: Verdict,
    *,
    written: Callable[[ir.Model], ir.Model] = lambda model: model,
) -> tuple[Verdict, list[Finding]]:
    """Run one step on a copy, and keep the copy where it is better.

    Args:
        name: What the finding calls the step.
        step: Edits the copy.
        model: What becomes the copy where that is better.
        judge: Compares.
        before: Its verdict without the step.
        written: The model that is judged for one that the step has edited; itself by default.
    """
    copy = clone(model)
    told = list(step(copy))
    after = judge.look_at(written(copy))
    kept = after.better_than(before)
    if kept:
        model.graph = copy.graph
    verb = "kept" if kept else "dropped"
    message = f"{name} {verb}: {before.decibels:.1f} dB without it, {after.decibels:.1f} dB with it"
    summary = Finding("QUANT-STEP", message, numbers=_numbers(before, after, kept=kept))
    return (after, [*told, summary]) if kept else (before, [summary])


def _steps(draft: Draft, teacher: ir.Model) -> list[tuple[str, Step]]:
    """Second-order rounding where the numbers are coarse or the effort is best, and biases."""
    few, many = (spread(draft.calibration, most) for most in (_SAMPLES, _MANY_SAMPLES))
    steps: list[tuple[str, Step]] = []
    if draft.options.effort == "best" or draft.ctx.target.weight_dtype == "int4":
        steps.append(("weight rounding", lambda model: round_weights(model, teacher, many, draft.ctx)))
    return [*steps, ("bias correction", lambda model: correct_bias(model, teacher, few, draft.ctx))]


def judged(verdict: Verdict, judge: Judge) -> Finding:
    """What the judge finds in the end, and what its samples had a part in."""
    where = f"on {judge.samples} samples that set no range, but chose between the last steps"
    if not judge.unseen:
        where = f"on the {judge.samples} samples of the calibration themselves, too few to keep some apart"
    ranks = f"; the largest output stays the same one in {100 * verdict.agreement:.1f} % of them" if judge.ranks else ""
    message = f"{where}, the outputs are {verdict.decibels:.1f} dB above their error{ranks}"
    numbers: dict[str, float | int | str] = {"error_db": round(verdict.decibels, 2), "samples": judge.samples}
    numbers |= {"agreement": round(verdict.agreement, 4)} if judge.ranks else {}
    return Finding("QUANT-JUDGED", message, numbers={**numbers, "unseen": int(judge.unseen)})
