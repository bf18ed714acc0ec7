"""The whole repair: gather batches, walk, and keep the result only where the outputs came closer to the teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.matching import Kept, differs, infer_kept
from onnxcompress.passes.reconstruction.means import compensate
from onnxcompress.passes.reconstruction.naming import with_names_of
from onnxcompress.passes.reconstruction.output_error import output_error
from onnxcompress.passes.reconstruction.stream import Run
from onnxcompress.passes.reconstruction.walk import Walk
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import Session, runnable_part
from onnxcompress.runtime.session import is_tensor
from onnxcompress.runtime.source import feeds_of

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

_BATCH = 32


def repair(model: ir.Model, ctx: Context, *, samples: int, rows: int) -> Iterator[Finding]:
    """Refit `model` to the teacher; restore its weights where that did not help. Without data: means only."""
    allowed = graph.in_scope(model, ctx.scope.only, ctx.scope.exclude)
    kept = model.meta.get("onnxcompress.kept", {})
    if ctx.data is None:
        yield from compensate(model, ctx.teacher, kept, allowed)
        return
    runs = runs_of(model, ctx, samples)
    if len(runs) < 2:
        yield Finding("RECONSTRUCT-TOO-FEW", "nothing refitted: at least two batches of samples are needed")
        return
    teacher = with_names_of(model, ctx.teacher)
    if not kept and differs(model, teacher):
        kept = _inferred(model, teacher, runs[0], ctx)
        yield Finding("RECONSTRUCT-INFERRED", f"which channels were kept was inferred for {len(kept)} tensors")
    before = graph.clone(model)
    walk = Walk(model, teacher, runs, kept, rows, ctx)
    yield from walk.findings(allowed)
    yield _judge(before, model, teacher, runs, ctx)


def runs_of(model: ir.Model, ctx: Context, samples: int) -> list[Run]:
    """At most `samples` of the context's samples, drawn by its seed, as inputs of at least ten runs."""
    assert ctx.data is not None
    drawn = ctx.data.draw(samples, seed=ctx.seed)
    batch = max(1, min(_BATCH, len(drawn) // 10))
    return [feeds.arrays for feeds in feeds_of(model, drawn, batch=batch)]


def _inferred(model: ir.Model, teacher: ir.Model, run: Run, ctx: Context) -> Kept:
    """Kept channels by weights and activations of one batch."""
    parts = [runnable_part(m, ctx.runtime)[0] for m in (model, teacher)]
    made = [{v.name or "" for node in part.graph for v in node.outputs if v.name} for part in parts]
    both = sorted(made[0] & made[1])
    ours, theirs = ({**run, **Session(part, ctx.runtime, taps=both).run(run, both)} for part in parts)
    floats = [n for n in ours if n in theirs and is_tensor(ours[n]) and ours[n].dtype.kind == "f"]
    return infer_kept(model, teacher, {n: ours[n] for n in floats}, {n: theirs[n] for n in floats})


def _judge(before: ir.Model, after: ir.Model, teacher: ir.Model, runs: Sequence[Run], ctx: Context) -> Finding:
    """Keep or undo, by the relative error of the outputs over all batches."""
    was, now = (output_error(m, teacher, runs, ctx.runtime) for m in (before, after))
    numbers = {"output_error_before": was, "output_error_after": now}
    if now <= was:
        return Finding("RECONSTRUCT-DONE", "the outputs came closer to the teacher's", numbers=numbers)
    _restore(after, before)
    message = "undone: the refitted model's outputs were farther from the teacher's"
    return Finding("RECONSTRUCT-UNDONE", message, severity=Severity.WARNING, numbers=numbers)


def _restore(model: ir.Model, before: ir.Model) -> None:
    """Give every constant its old tensor back, and take off what was added."""
    values = {v.name: v for node in model.graph for v in node.outputs} | {v.name: v for v in model.graph.inputs}
    values |= dict(model.graph.initializers)
    for node, twin in zip(model.graph, before.graph, strict=True):
        if len(node.inputs) > len(twin.inputs):
            node.resize_inputs(len(twin.inputs))
        for place, (value, former) in enumerate(zip(node.inputs, twin.inputs, strict=True)):
            if former is not None and (value is None or value.name != former.name):
                node.replace_input_with(place, values[former.name])
            tensor = graph.tensor_of(former)
            if value is not None and tensor is not None:
                graph.set_constant(values[former.name] if former is not None else value, tensor)
    for name in [n for n in model.graph.initializers if n not in before.graph.initializers]:
        del model.graph.initializers[name]
