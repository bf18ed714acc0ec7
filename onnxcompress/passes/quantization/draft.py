"""What the stages of static quantization hand on: the model, its placement, its statistics, its grids."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.cost import costs
from onnxcompress.data import DataSource
from onnxcompress.graph import in_scope
from onnxcompress.passes.quantization.edit import Editor, drop_unused
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.ranges import Rule, grids, histograms, spread
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.runtime import runnable_part
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.insert_qdq import InsertQDQ

_JUDGES = 32
_LEAST_TO_SHARE = 16  # with fewer samples each of them both calibrates and judges


@dataclass
class Draft:
    """One model on its way into integers.

    Attributes:
        model: The float model; `write` turns it into the integer one.
        ctx: Runtime, target, progress.
        options: The pass.
        request: What a placement is asked.
        plan: The placement.
        calibration: Samples that set ranges and find islands.
        judging: Samples that decide whether a step stays; they set no range, unless there are too few to share.
        found: Histograms by leading tensor of the first placement.
        grids: By leading tensor of `plan`.
    """

    model: ir.Model
    ctx: Context
    options: InsertQDQ
    request: Request
    plan: Plan
    calibration: DataSource
    judging: DataSource
    found: dict[str, FloatHistogram] = field(default_factory=dict[str, FloatHistogram])
    grids: dict[str, Grid] = field(default_factory=dict[str, Grid])

    @classmethod
    def begin(cls, model: ir.Model, ctx: Context, options: InsertQDQ) -> Draft:
        """Place the pairs and part the samples."""
        assert ctx.data is not None
        request = _request(model, ctx)
        calibration, judging = parted(spread(ctx.data, options.samples))
        return cls(model, ctx, options, request, place(request), calibration, judging)

    @property
    def apart(self) -> bool:
        """Whether the judging samples take no part in the calibration."""
        return self.judging is not self.calibration

    def replace(self, graph: ir.Graph) -> None:
        """Go on with another graph of the same function, nothing calibrated."""
        self.model.graph = graph
        self.request = _request(self.model, self.ctx)
        self.plan, self.found, self.grids = place(self.request), {}, {}

    def write(self) -> None:
        """Write the placement into the model."""
        options, target, live = self.options, self.ctx.target, self.request.live
        if not self.plan.linear:
            return
        channels, clip, low_bits = options.per_channel, options.clip, options.low_bits
        editor = Editor(self.model, target, per_channel=channels, clip=clip, low_bits=low_bits, live=live)
        editor.apply(self.plan, self.grids)
        drop_unused(self.model)

    def calibrate(self, rule: Rule) -> None:
        """Collect the histograms and let `rule` choose the grids."""
        others = [place(replace(self.request, target=target)) for target in self.ctx.also]
        self.found = histograms(self.model, self.plan, self.ctx, self.calibration, others)
        self.grids = self.gridded(rule)

    def gridded(self, rule: Rule) -> dict[str, Grid]:
        """The grids that a rule gives."""
        return grids(self.plan, self.found, rule, self.request.table)[0]

    def leave(self, islands: tuple[str, ...]) -> None:
        """Place again without these tensors (and those left before); the others keep the grids they have."""
        self.request = replace(self.request, islands=(*self.request.islands, *islands))
        whole, self.plan = self.plan, place(self.request)
        if self.grids:
            self.grids = {root: self.grids[whole.root(root)] for root in self.plan.members()}

    def again(self, model: ir.Model, islands: tuple[str, ...]) -> Draft:
        """The same draft on another copy of the float model, without these tensors; grids stay what they are."""
        request = replace(self.request, graph=model.graph, islands=(*self.request.islands, *islands))
        plan = place(request)
        grids = {root: self.grids[self.plan.root(root)] for root in plan.members()}
        return replace(self, model=model, request=request, plan=plan, grids=grids)


def _request(model: ir.Model, ctx: Context) -> Request:
    table = infer(model, shapes=ctx.shapes, runtime=ctx.runtime)
    part, _ = runnable_part(model, ctx.runtime)
    live: set[str] | None = None
    if part is not model:
        live = {v.name or "" for v in part.graph.inputs} | {o.name or "" for node in part.graph for o in node.outputs}
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    return Request(model.graph, ctx.target, table, chosen, live=live, macs=costs(model, table).macs_by_node)


def parted(samples: DataSource) -> tuple[DataSource, DataSource]:
    """Samples to calibrate on, and at most a fifth, evenly spaced, to judge by."""
    count = len(samples)
    if count < _LEAST_TO_SHARE:
        return samples, samples
    held = np.unique(np.linspace(0, count - 1, min(_JUDGES, count // 5)).round().astype(np.int64))
    return samples.subset(np.setdiff1d(np.arange(count), held)), samples.subset(held)
