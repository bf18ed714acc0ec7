"""What a result is worth, on held-out samples: against the input, or against the teacher where one was given.

With a teacher the input is itself measured against it, so that the report tells how far the student was and how far
it is now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from onnxcompress import verify
from onnxcompress.errors import GateError
from onnxcompress.passes.base import Context, Effect, Pass
from onnxcompress.runtime import dims_of, real_inputs

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxcompress.report import Report

Metric = verify.Metric

# Samples that a LOSSY pass is measured on while the pipeline runs; the final figures use all that are held out.
_SAMPLES_BETWEEN = 128
_LEAST_TO_SPLIT = 2  # samples of --data of which some can be held out
_ROUNDING = {"insert-qdq", "quantize-weights", "quantize-dynamic", "convert-float"}
_FAR_DB = 10.0  # signal to noise below which an output is off by about a third (10 ** -0.5) or more


def measure(model: ir.Model, ctx: Context, metric: Metric | None) -> tuple[verify.Comparison, dict[str, Any]]:
    """The comparison that gates look at, and the report's quality figures.

    Raises:
        DataError: Where the held-out samples do not fit, or the metric fails.
    """
    reference = _reference(ctx)
    comparison = _compare(reference, model, ctx, metric)
    figures = comparison.to_dict()
    if reference is ctx.original:
        return comparison, figures
    change = _compare(ctx.original, model, ctx, metric).to_dict()
    start = _compare(reference, ctx.original, ctx, None).to_dict()
    return comparison, {**figures, **_from_the_start(figures, change, start)}


def measure_between(model: ir.Model, ctx: Context) -> dict[str, Any]:
    """Figures after one LOSSY pass, on a few held-out samples; empty where there are none."""
    if ctx.held_out is None:
        return {}
    some = ctx.held_out.subset(range(min(len(ctx.held_out), _SAMPLES_BETWEEN)))
    return verify.compare(_reference(ctx), model, some, options=ctx.runtime, seed=ctx.seed).to_dict()


def _reference(ctx: Context) -> ir.Model:
    """The teacher; the input where a teacher of another make bears other names, which only the pass can pair."""
    return ctx.original if _is_foreign(ctx) else ctx.teacher


def _is_foreign(ctx: Context) -> bool:
    """True where inputs or outputs of teacher and input differ in name or known sizes."""
    sides = [(real_inputs(m), m.graph.outputs) for m in (ctx.original, ctx.teacher)]
    return any(
        {v.name for v in mine} != {v.name for v in theirs} or not _sizes_agree(mine, theirs)
        for mine, theirs in zip(*sides, strict=True)
    )


def _sizes_agree(mine: Sequence[ir.Value], theirs: Sequence[ir.Value]) -> bool:
    known = {v.name: dims_of(v) for v in theirs}
    pairs = [(dims_of(v), known[v.name]) for v in mine]
    return all(
        len(a) == len(b) and all(x == y for x, y in zip(a, b, strict=True) if isinstance(x, int) and isinstance(y, int))
        for a, b in pairs
        if a is not None and b is not None
    )


def foreign_teacher(ctx: Context) -> list[str]:
    """A remark where the figures do not speak of the teacher."""
    if not _is_foreign(ctx):
        return []
    told = "-v or --report has how close the student came to it"
    return [f"quality is measured against the input: the teacher has other inputs or outputs; {told}"]


def _compare(reference: ir.Model, candidate: ir.Model, ctx: Context, metric: Metric | None) -> verify.Comparison:
    assert ctx.held_out is not None, "the manager measures only where there are samples"
    return verify.compare(reference, candidate, ctx.held_out, options=ctx.runtime, metric=metric, seed=ctx.seed)


def _from_the_start(figures: dict[str, Any], change: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    """Before means the input model, and so does the interval; the teacher's own score gets a name of its own."""
    renamed = {f"{key}_before": start[key] for key in ("top1_agreement", "relative_l2", "sqnr_db") if key in start}
    for score in ("accuracy", "metric"):
        if f"{score}_before" in figures:
            renamed[f"{score}_teacher"] = figures[f"{score}_before"]
            renamed[f"{score}_before"] = change[f"{score}_before"]
    if "metrics" in change:
        renamed |= {key: change[key] for key in ("metric_name", "metrics", "metric_before", "metric_after")}
        renamed["metric_teacher"] = figures["metrics"][change["metric_name"]][0]
    return renamed | ({"interval": change["interval"]} if "interval" in change else {})


def far_apart(quality: Mapping[str, Any]) -> list[str]:
    """A remark where the outputs are far apart and nothing that a user would look at has said so."""
    noise = quality.get("sqnr_db")
    if noise is None or noise >= _FAR_DB or {"accuracy_after", "metric_after"} & set(quality):
        return []
    hint = "judge the result by --metric or labels, exclude what is sensitive, or hold it to --min-sqnr"
    return [f"the outputs are far from the reference's, {noise:.1f} dB: {hint}"]


def with_goal(
    ctx: Context, passes: Sequence[Pass], gate: verify.Gate, metric: Metric | None, *, apart: bool
) -> Context:
    """Let the last pass that changes numbers know the gate, where it can steer towards it.

    Without evaluation data the samples that judge steer too. With it they stay untouched: a fifth of the data is held
    out from calibration and steers.

    Args:
        ctx: Samples and runtime.
        passes: The pipeline.
        gate: The limits.
        metric: The user's own.
        apart: True where the samples that judge are not of the data.
    """
    lossy = [p for p in passes if p.effect is Effect.LOSSY]
    asked = gate.max_drop is not None or gate.min_sqnr is not None
    if not (asked and lossy and lossy[-1].steers) or ctx.data is None or ctx.held_out is None:
        return ctx
    data, steering = ctx.data, ctx.held_out
    if apart and len(data) >= _LEAST_TO_SPLIT:
        data, steering = data.split(0.2, seed=ctx.seed)
    elif apart:
        steering = data
    return replace(ctx, data=data, goal=verify.Goal(gate, ctx.teacher, steering, apart, metric, ctx.runtime))


def hold(gate: verify.Gate, comparison: verify.Comparison, report: Report) -> None:
    """Hold the result to the gate; what was tried to meet it is told either way.

    Raises:
        GateError: Where a limit is not met.
    """
    tried = [f.message for f in report.findings if f.code == "QUANT-FALLBACK"]
    report.notes += tried
    try:
        gate.check(comparison, *_cure(report))
    except GateError as error:
        for sentence in tried:
            error.add_note(sentence)
        raise


def _cure(report: Report) -> list[str]:
    """What to do about a missed gate where nothing was cut but numbers were rounded."""
    ran = {record.name: record.spec for record in report.passes}
    if not _ROUNDING & ran.keys() or any(name.startswith("prune") for name in ran):
        return []
    effort = ran.get("insert-qdq", {}).get("effort")
    first = {"fast": "Leave out --effort fast, give", "best": "Give"}.get(effort or "", "Give --effort best,")
    if "insert-qdq" not in ran:
        return ["Leave what is sensitive as it is (--exclude), or allow a larger loss."]
    return [f"{first} more samples, leave what is sensitive float (--exclude), or allow a larger loss."]
