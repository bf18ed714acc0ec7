"""Weights alone as narrow numbers: nearest ones first; with samples those of 4 bits anew, by what they do together.

The second step is `rounding.round_weights` with the float model as teacher. It stays only where samples that it never
saw find the outputs nearer to the float ones (`mending.attempt`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.errors import UsageError
from onnxcompress.graph import clone, in_scope, label, scopes
from onnxcompress.passes.quantization.draft import parted
from onnxcompress.passes.quantization.judge import Judge
from onnxcompress.passes.quantization.kinds import weight_kind
from onnxcompress.passes.quantization.mending import attempt, judged
from onnxcompress.passes.quantization.narrow_weights import Narrow
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.products_of_bits import write_products_of_bits
from onnxcompress.passes.quantization.ranges import spread
from onnxcompress.passes.quantization.rounding.rounding import round_weights
from onnxcompress.passes.quantization.scales import clip_of
from onnxcompress.passes.quantization.weights import Stored, store_weights, weights_of
from onnxcompress.passes.quantization.widths import with_widths
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.quantize_weights import QuantizeWeights


def quantize_weights(model: ir.Model, ctx: Context, options: QuantizeWeights) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    _refuse_foreign(ctx, options)
    ctx = replace(ctx, target=with_widths(ctx.target, options.weights, "none"))
    yield from prepare_opset(model, ctx.target.min_opset)
    teacher = clone(model) if _rounds(ctx, options) else None
    clip, narrow = clip_of(options.clip, weight_kind(options.weights)), _narrow(ctx, options)
    stored = yield from store_weights(model, ctx, per_channel=options.per_channel, clip=clip, narrow=narrow)
    if teacher is not None and stored.weights > stored.tables:
        yield from _round(model, teacher, ctx, options)
    if options.format == "matmulnbits":
        write_products_of_bits(model, in_scope(model, ctx.scope.only, ctx.scope.exclude))
    yield from _bodies(model)
    yield _summary(stored, options)


def _refuse_foreign(ctx: Context, options: QuantizeWeights) -> None:
    if options.format == "matmulnbits" and ctx.target.lint != "onnxruntime":
        raise UsageError(
            f"--format matmulnbits does not go with the target {ctx.target.name}",
            why="MatMulNBits is ONNX Runtime's own operator",
            hint="Leave out --format, or give --target ort-cpu.",
            code="USAGE-BAD-VALUE",
        )


def _narrow(ctx: Context, options: QuantizeWeights) -> Narrow | None:
    if options.weights == "int8":
        return None
    return Narrow(weight_kind(options.weights), options.block, options.clip, ctx.target.lint == "tensorrt")


def _rounds(ctx: Context, options: QuantizeWeights) -> bool:
    """int8 is so fine that only the best effort is spent on it; float8's numbers are no grid."""
    efforts = {"int4": ("default", "best"), "int8": ("best",)}
    return ctx.data is not None and options.effort in efforts.get(options.weights, ())


def _round(model: ir.Model, teacher: ir.Model, ctx: Context, options: QuantizeWeights) -> Iterator[Finding]:
    assert ctx.data is not None
    fit, judging = parted(spread(ctx.data, options.samples))
    judge = Judge(teacher, judging, ctx.runtime, unseen=judging is not fit)
    if judge.blind:
        return
    verdict = judge.look_at(model)
    verdict, findings = attempt(
        "weight rounding", lambda copy: round_weights(copy, teacher, fit, ctx), model, judge, verdict
    )
    yield from findings
    yield judged(verdict, judge)


def _bodies(model: ir.Model) -> Iterator[Finding]:
    for scope in scopes(model):
        for node in scope if scope is not model.graph else ():
            if any(True for _ in weights_of(node)):
                message = f"weight of {node.op_type} left float: it stands in a body of If, Loop or Scan, or a function"
                yield Finding("QUANT-BODY", message, node=label(node))


def _summary(stored: Stored, options: QuantizeWeights) -> Finding:
    done, kind = stored.weights, options.weights
    tables = ", tables that are gathered as int8" if kind != "int8" and stored.tables else ""
    message = f"{done} weights stored as {kind}{tables}" if done else f"no weight was worth storing as {kind}"
    severity = Severity.INFO if done else Severity.WARNING
    numbers = {"weights": done, "saved_bytes": stored.saved_bytes}
    return Finding("QUANT-WEIGHTS", message, severity=severity, numbers=numbers)
