"""Students that are graphs: trained by the pass `distill`, cut by `prune-channels`, refitted by `reconstruct`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import onnx_ir as ir

from onnxcompress import verify
from onnxcompress.cost import costs
from onnxcompress.data import DataSource
from onnxcompress.distill.schedule import SENSITIVE, default_rate
from onnxcompress.distill.self_compress import Gap
from onnxcompress.graph import clone, iter_nodes
from onnxcompress.passes.base import Analyses, Context
from onnxcompress.passes.distill import Distill
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.reconstruct import Reconstruct
from onnxcompress.report import Finding
from onnxcompress.shapes import infer

if TYPE_CHECKING:
    from onnxcompress.passes.self_compress import SelfCompress

# Fewer samples than this are not divided: they train and check.
_TO_DIVIDE = 40
_CHECKED, _MOST_CHECKED = 0.2, 1000
_BATCH = 64
# Half and a third of what `reconstruct` takes on its own: many small cuts follow each other, and training comes after.
_REFIT_SAMPLES, _REFIT_ROWS = 256, 20_000
_LEAST_SECONDS = 0.001
# Without a budget the trainings at the target cost have so many times the steps of those before.
_LONG = 6


class Workshop:
    """What the machine asks of the world.

    Args:
        ctx: Of the pass.
        options: The pass.
    """

    def __init__(self, ctx: Context, options: SelfCompress) -> None:
        assert ctx.data is not None
        self._train, self._check = _divided(ctx.data, ctx.seed)
        self._ctx = replace(ctx, data=self._train, held_out=self._check, progress=self._tell)
        self._told, self._whole, self._cost, self._gap = ctx.progress, 0.0, 0.0, 0.0
        self._options, self._began, self._budget = options, time.perf_counter(), options.seconds()
        self.rate = self._automatic_rate() if options.lr == "auto" else float(options.lr)
        self.steps = 0
        self.notes: dict[tuple[str, str], Finding] = {}

    @property
    def seconds(self) -> float:
        """Time so far."""
        return time.perf_counter() - self._began

    def left(self) -> float:
        """The part of the budget that is left."""
        return 1.0 if self._budget is None else max(0.0, 1 - self.seconds / self._budget)

    def cost(self, student: ir.Model) -> float:
        """What the target is about."""
        counted = costs(student, infer(student, shapes=self._ctx.shapes, runtime=self._ctx.runtime))
        self._cost = float(counted.params if self._options.target_params else counted.macs)
        self._whole = self._whole or self._cost
        return self._cost

    def gap(self, student: ir.Model) -> Gap:
        """As ONNX Runtime computes both, on samples that train nothing."""
        ctx = self._ctx
        found = verify.compare(ctx.teacher, student, self._check, options=ctx.runtime, seed=ctx.seed, batch=_BATCH)
        agreed = found.top1_agreement
        self._gap = found.relative_l2 if agreed is None else 1 - agreed
        return Gap(self._gap, found.relative_l2)

    def train(self, student: ir.Model, rate: float, *, share: float, repair: bool, last: bool) -> tuple[ir.Model, Gap]:
        """One run of `distill` on a copy."""
        copy, options = clone(student), self._options
        trainer = Distill(
            steps=None if last and self._budget is not None else options.stage_steps * (_LONG if last else 1),
            budget=None if self._budget is None else f"{max(share * self._budget, _LEAST_SECONDS):.3f}s",
            batch_size=options.batch_size,
            lr=repr(rate * self.rate),
            loss=options.loss,
            temperature=options.temperature,
            optimizer=options.optimizer,
            augment=options.augment,
            repair=repair,
        )
        self.steps += sum(int(f.numbers["steps"]) for f in trainer.run(copy, self._alone()) if "rate" in f.numbers)
        return copy, self.gap(copy)

    def prune(self, student: ir.Model, goal: float) -> ir.Model | None:
        """A cut copy, checked by the pruner's oracles, onnx.checker and ONNX Runtime; None where nothing could go."""
        copy = clone(student)
        by_size = bool(self._options.target_params)
        cutter = PruneChannels(
            target_params=repr(goal) if by_size else "", target_macs="" if by_size else repr(goal), allow_miss=True
        )
        found = list(cutter.run(copy, self._alone()))
        self._note(found)
        if all(finding.code != "PRUNE-CUT" for finding in found):
            return None
        if self._options.reconstruct:
            list(Reconstruct(samples=_REFIT_SAMPLES, rows=_REFIT_ROWS).run(copy, self._alone()))
        verify.check_structure(copy, self._ctx)
        return copy

    def _tell(self, step: str, done: int, total: int) -> None:
        """Progress of what is under way, with the width that it is at: "what (figures)"."""
        what, _, figures = step.partition(" (")
        share = self._cost / self._whole if self._whole else 1.0
        told = [f"{share:.2f}x", f"gap {self._gap:.1%}", *([figures.removesuffix(")")] if figures else [])]
        self._told(f"self-compress, {what} ({', '.join(told)})", done, total)

    def _automatic_rate(self) -> float:
        """That of its kind. A trial would say little: it is made for the students to come, not for the first."""
        sensitive = any(node.op_type in SENSITIVE for node in iter_nodes(self._ctx.teacher))
        return default_rate(quantized=False, sensitive=sensitive, hints=False)

    def _alone(self) -> Context:
        """The context with analyses of its own: each student is another graph."""
        return replace(self._ctx, analyses=Analyses())

    def _note(self, found: Iterable[Finding]) -> None:
        """Keep why layers must stay; what each cut took is told by the stage."""
        for finding in found:
            if finding.code.startswith("PRUNE-FROZEN"):
                self.notes.setdefault((finding.code, finding.node), finding)


def _divided(data: DataSource, seed: int) -> tuple[DataSource, DataSource]:
    """(what trains, what tells the gap)."""
    count = len(data)
    return (data, data) if count < _TO_DIVIDE else data.split(min(_CHECKED, _MOST_CHECKED / count), seed=seed)
