"""What a prune would do, found out without editing anything: trace, score, decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress.cost import Costs, costs
from onnxcompress.graph import in_scope, select_nodes
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.cells import Cell, cells
from onnxcompress.passes.pruning.importance import importance, weighed
from onnxcompress.passes.pruning.obs.curves import first_score, measured
from onnxcompress.passes.pruning.outputs import allowed_outputs
from onnxcompress.passes.pruning.plan import Decision, check_layers, decide
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.selection import replay
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
    found = trace(model, table, RULES, scope, excluded, allowed_outputs(model, options.allow_output))
    check_layers(found, options)
    scores, findings = importance(found, first_score(options), ctx)
    choices = weighed(found, cells(found, scores, options.heads), scores)
    before = costs(model, table)
    if options.plan:
        decision, more = replay(found, choices, options.plan, ctx)
    else:
        choices, more = measured(found, choices, options, ctx)
        decision = decide(found, choices, options, ctx, before)
    return Survey(found, choices, before, decision, [*findings, *more])
