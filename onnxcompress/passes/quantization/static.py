"""Static quantization: place, calibrate, look for islands, edit, and say what was left float and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.cost import costs
from onnxcompress.errors import UsageError
from onnxcompress.graph import in_scope, is_constant, iter_nodes, label, scopes
from onnxcompress.passes.quantization import kernels
from onnxcompress.passes.quantization.already import refuse_quantized
from onnxcompress.passes.quantization.edit import Editor, drop_unused
from onnxcompress.passes.quantization.linear import is_linear
from onnxcompress.passes.quantization.lint import lint
from onnxcompress.passes.quantization.opset import prepare_opset
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.ranges import Rule, grids, histograms, spread
from onnxcompress.passes.quantization.sensitivity import Material, find_islands
from onnxcompress.passes.quantization.weights import RECURRENT_OPS, weights_left_float
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import runnable_part
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.insert_qdq import InsertQDQ


def quantize_static(model: ir.Model, ctx: Context, options: InsertQDQ) -> Iterator[Finding]:
    """Edit `model` and yield the findings."""
    assert ctx.data is not None
    if not ctx.scope.only:
        refuse_quantized(model)
    wanted = _islands(options.islands)
    yield from prepare_opset(model, ctx.target.min_opset)
    request = _request(model, ctx)
    plan = place(request)
    if not plan.linear:
        yield from weights_left_float(model, ctx, per_channel=options.per_channel)
        yield from _left(plan, model, ctx)
        yield _nothing(ctx)
        return
    name = ctx.target.calibrator if options.calibrator == "auto" else options.calibrator
    rule = Rule(name, _settings(options), ctx.target)
    samples = spread(ctx.data, options.samples)
    found = histograms(model, plan, ctx, samples)
    chosen, _ = grids(plan, found, rule, request.table)
    if wanted != 0 and options.evaluations > 0:
        material = Material(model, chosen, found, samples, ctx)
        islands = find_islands(request, plan, material, wanted, options.evaluations)
        yield from islands.findings
        whole, plan = plan, place(replace(request, islands=islands.tensors))
        chosen = {root: chosen[whole.root(root)] for root in plan.members()}
    editor = Editor(model, ctx.target, per_channel=options.per_channel, live=request.live)
    editor.apply(plan, chosen)
    drop_unused(model)
    yield from weights_left_float(model, ctx, per_channel=options.per_channel)
    yield from _left(plan, model, ctx)
    yield _summary(plan, rule)
    yield from _checked(model, ctx)


def _settings(options: InsertQDQ) -> dict[str, float]:
    if not 0 < options.percentile <= 100:
        why = "it is the share of the values inside the range, in per cent, above 0 and at most 100"
        raise UsageError(f"--percentile {options.percentile:g} is out of range", why=why, hint="Give 99.99, say.")
    return {"percentile": options.percentile} if options.calibrator == "histogram" else {}


def _islands(text: str | int) -> int | None:
    """The number asked for; None for auto."""
    if str(text) == "auto":
        return None
    if not str(text).isdigit():
        raise UsageError(
            f"islands must be a number or auto, not {text!r}", hint="Give --islands 2.", code="USAGE-BAD-VALUE"
        )
    return int(text)


def _request(model: ir.Model, ctx: Context) -> Request:
    table = infer(model, shapes=ctx.shapes, runtime=ctx.runtime)
    part, _ = runnable_part(model, ctx.runtime)
    live: set[str] | None = None
    if part is not model:
        live = {v.name or "" for v in part.graph.inputs} | {o.name or "" for node in part.graph for o in node.outputs}
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    return Request(model.graph, ctx.target, table, chosen, live=live, macs=costs(model, table).macs_by_node)


def _left(plan: Plan, model: ir.Model, ctx: Context) -> Iterator[Finding]:
    for node, (code, message) in plan.left.items():
        yield Finding(code, f"{node.op_type} left float: {message}", node=label(node))
    for scope in scopes(model):
        for node in scope if scope is not model.graph else ():
            if is_linear(node):
                where = "in a body of If, Loop or Scan, or in a function"
                yield Finding("QUANT-BODY", f"{node.op_type} left float: it stands {where}", node=label(node))
    for node in iter_nodes(model):
        if node.op_type in RECURRENT_OPS:
            why = f"{ctx.target.name} has no integer kernel for it"
            kept = "" if node.inputs[1] is None or is_constant(node.inputs[1]) else "; its weights are stored as int8"
            yield Finding("QUANT-NO-KERNEL", f"{node.op_type} left float: {why}{kept}", node=label(node))


def _nothing(ctx: Context) -> Finding:
    message = f"no node of the kinds that {ctx.target.name} runs on integers could be quantized"
    return Finding("QUANT-NOTHING", message, severity=Severity.WARNING)


def _summary(plan: Plan, rule: Rule) -> Finding:
    message = f"Q/DQ pairs on {len(plan.pairs)} tensors around {len(plan.linear)} multiplying nodes"
    numbers = {"pairs": len(plan.pairs), "nodes": len(plan.linear), "between": len(plan.passing)}
    return Finding("QUANT-DONE", f"{message}, ranges by {rule.name}", numbers=numbers)


def _checked(model: ir.Model, ctx: Context) -> Iterator[Finding]:
    if ctx.target.lint == "onnxruntime":
        yield from kernels.check(model, ctx.runtime)
    yield from lint(model, ctx.target)
