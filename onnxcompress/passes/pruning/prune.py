"""The pass itself: trace, decide, cut, and hold the result to the masked original."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from onnxcompress.cost import Costs
from onnxcompress.graph import clone
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.cutting import cut_out, shorten
from onnxcompress.passes.pruning.frozen import frozen_findings, reason_counts
from onnxcompress.passes.pruning.oracles.post_condition import PostCondition, check_identity
from onnxcompress.passes.pruning.outputs import cut_outputs
from onnxcompress.passes.pruning.plan import TARGETS, Decision, refuse_missed
from onnxcompress.passes.pruning.rates import goal_of
from onnxcompress.passes.pruning.selection import META as PLAN
from onnxcompress.passes.pruning.selection import selection
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.survey import survey
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.report import Finding, Severity

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels


def prune(model: ir.Model, ctx: Context, options: PruneChannels) -> Iterator[Finding]:
    """Cut `model` in place.

    Local functions are inlined first, so that each call is cut for itself; a model of which nothing goes keeps them.

    Raises:
        UsageError: Where a layer pattern matches nothing.
        InternalError: Where the result is not what the masked original computes; the manager rolls it back.
    """
    if model.functions:
        trial = clone(model)
        InlinePass()(trial)
        findings = list(_prune(trial, ctx, options))
        if all(finding.code != "PRUNE-CUT" for finding in findings):
            yield from findings
            return
        yield Finding("PRUNE-INLINED", f"{len(model.functions)} local functions were inlined, so that calls can differ")
        InlinePass()(model)
    yield from _prune(model, ctx, options)


def _prune(model: ir.Model, ctx: Context, options: PruneChannels) -> Iterator[Finding]:
    seen = survey(model, ctx, options)
    found, decision = seen.found, seen.decision
    yield from (*seen.findings, *frozen_findings(found))
    refuse_missed(decision, found, options)
    if not decision.removed.any():
        yield Finding("PRUNE-NOTHING", _why_nothing(found, options, seen.costs), severity=Severity.WARNING)
        return
    groups = selection(seen.cells, decision.removed)
    cut = Cut(found, decision.removed)
    condition = PostCondition(cut, found.table, ctx)
    if ctx.verify == "full":
        check_identity(model, lambda: shorten(model, Cut(found, np.zeros_like(decision.removed))))
    yield from _cuts(seen.cells, cut)
    cut_out(model, cut)
    model.meta[PLAN] = groups
    yield from cut_outputs(cut)
    yield from _missed(decision, options)
    yield condition.check(model)


def _why_nothing(found: Trace, options: PruneChannels, before: Costs) -> str:
    """Why no channel goes: the model is small enough already, or what would go may not."""
    for figure, text in {"macs": options.target_macs, "params": options.target_params}.items():
        whole = getattr(before, figure)
        if text and whole <= goal_of(text, whole, f"--target-{figure}"):
            return (
                f"no channel was removed: the model has {whole:,} {TARGETS[figure]}, within the target {text} already"
            )
    return f"no channel was removed: {reason_counts(found)}"


def _missed(decision: Decision, options: PruneChannels) -> Iterator[Finding]:
    """A warning where the target lies beyond what may be cut, and the user takes what there is."""
    if decision.missed and decision.goal is not None:
        whole, what = decision.whole, TARGETS["macs" if options.target_macs else "params"]
        told = f"{what} come to {decision.reached / whole:.3f}x, not {decision.goal / whole:.3f}x: no more may be cut"
        numbers = {"goal": decision.goal, "reached": decision.reached}
        yield Finding("PRUNE-TARGET-MISSED", told, severity=Severity.WARNING, numbers=numbers)


def _cuts(choices: list[Cell], cut: Cut) -> Iterator[Finding]:
    for cell in choices:
        gone = int((~cut.keep(cell.order[0])).sum()) * cell.channels
        if gone:
            width = cell.width * cell.channels
            others = len(cell.producers) - 1
            more = f" and {others} more" if others else ""
            text = f"{width - gone} of {width} channels stay in {cell.name}{more}"
            yield Finding("PRUNE-CUT", text, cell.name, numbers={"before": width, "after": width - gone})
