"""Static quantization in stages: place, calibrate, refine, edit, mend; and what was left float and why.

Place: the target's rules (`placement`). Calibrate: one streamed pass, a rule for the ranges. Refine: other ranges and
islands for the tensors that cost most (`sensitivity`). Edit: Q/DQ pairs and integer weights. Mend: steps that stay only
where the judge, on samples that set no range, finds the outputs nearer (`mending`). Before all of it, where weights
have one scale for all channels or the effort is best: equalization, kept if the judge finds the outputs nearer. Fall
back: where a quality gate was given and is missed, edit and mend again with fewer tensors in integers (`fallback`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from onnxcompress.calibrators.finite import not_finite
from onnxcompress.errors import UsageError
from onnxcompress.graph import clone, is_constant, iter_nodes, label, scopes
from onnxcompress.passes.quantization import kernels, saturation
from onnxcompress.passes.quantization.already import refuse_quantized
from onnxcompress.passes.quantization.draft import Draft
from onnxcompress.passes.quantization.equalization.step import equalized
from onnxcompress.passes.quantization.fallback import Write, fall_back
from onnxcompress.passes.quantization.judge import Judge
from onnxcompress.passes.quantization.linear import is_linear
from onnxcompress.passes.quantization.lint import lint
from onnxcompress.passes.quantization.mending import mend, store
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.ranges import Rule
from onnxcompress.passes.quantization.samples import constant_tensors, few, without_outliers
from onnxcompress.passes.quantization.sensitivity import refine, thrift
from onnxcompress.passes.quantization.weights import RECURRENT_OPS, weights_left_float
from onnxcompress.passes.quantization.widths import computes_in_float, with_widths
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.insert_qdq import InsertQDQ


def quantize_static(model: ir.Model, ctx: Context, options: InsertQDQ) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    if options.activations == "none":
        hint = "Use `quantize --activations none` or `run quantize-weights`."
        raise UsageError("--activations none leaves insert-qdq nothing to do", why="it quantizes both", hint=hint)
    ctx = replace(ctx, target=with_widths(ctx.target, options.weights, options.activations))
    if not ctx.scope.only:
        refuse_quantized(model)
    count, rule = _islands(options.islands), _rule(options, ctx)
    yield from prepare_opset(model, ctx.target.min_opset)
    ctx, outliers = without_outliers(ctx)
    yield from outliers
    draft = Draft.begin(model, ctx, options)
    judge = None if options.effort == "fast" else Judge(model, draft.judging, ctx.runtime, unseen=draft.apart)
    if judge is not None:
        yield from equalized(draft, rule, judge)
        yield from thrift(draft) if count is None and draft.plan.linear else ()
    if draft.plan.linear:
        yield from few(ctx.data) if ctx.data is not None else ()
        draft.calibrate(rule)
        yield from constant_tensors(draft.found)
        yield from not_finite(draft.found, strict=ctx.strict)
    if judge is not None and draft.plan.linear:
        yield from refine(draft, rule, count)
    yield from fall_back(draft, _writer(draft, judge))
    yield from _left(draft)
    yield _summary(draft, rule) if draft.plan.linear else _nothing(ctx)
    yield from _checked(model, ctx) if draft.plan.linear else ()


def _fast(draft: Draft) -> Iterator[Finding]:
    draft.write()
    yield from weights_left_float(draft.model, draft.ctx, per_channel=draft.options.per_channel)


def _careful(draft: Draft, teacher: ir.Model, judge: Judge) -> Iterator[Finding]:
    draft.write()
    yield from store(draft, judge)
    yield from mend(draft, teacher, judge)


def _writer(draft: Draft, judge: Judge | None) -> Write:
    """How a draft is written, once or, for a quality gate, several times."""
    if judge is None:
        return _fast
    teacher = clone(draft.model)
    return lambda each: _careful(each, teacher, judge)


def _rule(options: InsertQDQ, ctx: Context) -> Rule:
    name = ctx.target.calibrator if options.calibrator == "auto" else options.calibrator
    return Rule(name, _settings(name, options), ctx.target)


def _settings(name: str, options: InsertQDQ) -> dict[str, Any]:
    every = {"histogram": {"percentile": options.percentile}, "truncate": {"low_bits": options.low_bits}}
    return every.get(name, {})


def _islands(text: str | int) -> int | None:
    """The number asked for; None for auto."""
    return None if str(text) == "auto" else int(text)


def _left(draft: Draft) -> Iterator[Finding]:
    for node, (code, message) in draft.plan.left.items():
        yield Finding(code, f"{node.op_type} left float: {message}", node=label(node))
    for scope in scopes(draft.model):
        for node in scope if scope is not draft.model.graph else ():
            if is_linear(node):
                where = "in a body of If, Loop or Scan, or in a function"
                yield Finding("QUANT-BODY", f"{node.op_type} left float: it stands {where}", node=label(node))
    for node in iter_nodes(draft.model):
        if node.op_type in RECURRENT_OPS:
            why = f"{draft.ctx.target.name} has no integer kernel for it"
            kept = "" if node.inputs[1] is None or is_constant(node.inputs[1]) else "; its weights are stored as int8"
            yield Finding("QUANT-NO-KERNEL", f"{node.op_type} left float: {why}{kept}", node=label(node))


def _nothing(ctx: Context) -> Finding:
    message = f"no node of the kinds that {ctx.target.name} runs on integers could be quantized"
    return Finding("QUANT-NOTHING", message, severity=Severity.WARNING)


def _summary(draft: Draft, rule: Rule) -> Finding:
    plan = draft.plan
    message = f"Q/DQ pairs on {len(plan.pairs)} tensors around {len(plan.linear)} multiplying nodes"
    numbers = {"pairs": len(plan.pairs), "nodes": len(plan.linear), "between": len(plan.passing)}
    return Finding("QUANT-DONE", f"{message}, ranges by {rule.name}", numbers=numbers)


def _checked(model: ir.Model, ctx: Context) -> Iterator[Finding]:
    told = computes_in_float(ctx.target) if ctx.target.lint == "onnxruntime" else None
    if told is not None:
        yield told
    elif ctx.target.lint == "onnxruntime":
        yield from kernels.check(model, ctx.runtime)
    yield from saturation.check(model, ctx.target)
    yield from lint(model, ctx.target)
