"""What a prune would do, found out without editing anything: trace, score, decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.cost import Costs, costs
from onnxcompress.graph import clone, in_scope, select_nodes
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.cells import Cell, cells
from onnxcompress.passes.pruning.cutting import cut_out
from onnxcompress.passes.pruning.importance import importance, weighed
from onnxcompress.passes.pruning.latency.settle import settle
from onnxcompress.passes.pruning.obs.curves import first_score, measured
from onnxcompress.passes.pruning.outputs import allowed_outputs
from onnxcompress.passes.pruning.plan import Decision, aim_of, check_layers, decide
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.selection import replay
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.report import Finding
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels


@dataclass(frozen=True, eq=False)
class Survey:
    """A model as the pruner sees it.

    Attributes:
        found: The trace.
        cells: What is decided on.
        costs: Of the model as it is.
        decision: How much each cell gives.
        findings: What could not be scored or measured as asked, or was matched by name alone.
    """

    found: Trace
    cells: list[Cell]
    costs: Costs
    decision: Decision
    findings: list[Finding]


def survey(model: ir.Model, ctx: Context, options: PruneChannels) -> Survey:
    """Look at `model`, which is not edited.

    Raises:
        UsageError: Where a layer pattern matches nothing, or a saved plan does not fit.
    """
    table = infer(model, shapes=ctx.shapes, runtime=ctx.runtime, values=True)
    scope = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    excluded = select_nodes(model, ctx.scope.exclude, strict=False)

    def traced(each: ir.Model) -> Trace:
        return trace(each, table, RULES, scope, excluded, allowed_outputs(each, options.allow_output))

    found = traced(model)
    check_layers(found, options)
    scores, findings = importance(found, first_score(options), ctx)
    choices = weighed(found, cells(found, scores, options.heads), scores)
    before = costs(model, table)
    if options.plan:
        decision, more = replay(found, choices, options.plan, ctx)
    else:
        choices, more = measured(found, choices, options, ctx)
        if options.target_latency:
            decision, timed = settle(found, choices, options, ctx, lambda gone: _cut_copy(model, traced, gone))
            more = [*more, timed]
        else:
            decision = decide(found, choices, options, ctx, aim_of(found, options, before))
    return Survey(found, choices, before, decision, [*findings, *more])


def _cut_copy(model: ir.Model, traced: Callable[[ir.Model], Trace], gone: np.ndarray) -> ir.Model:
    """A copy of `model` without the classes `gone`; equal models have equal atoms, so the copy is traced anew."""
    copy = clone(model)
    twin = traced(copy)
    cells(twin, np.zeros(len(twin.atoms)))
    cut_out(copy, Cut(twin, gone))
    return copy
