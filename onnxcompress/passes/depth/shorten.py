"""The pass itself: find the branches, take out those that are worth least, one after the other."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.cost import costs
from onnxcompress.errors import UsageError
from onnxcompress.graph import clone, in_scope, label
from onnxcompress.passes.base import Context
from onnxcompress.passes.depth.branches import Branch, branches
from onnxcompress.passes.depth.remove import remove, unused_inputs
from onnxcompress.passes.depth.units import Unit, units
from onnxcompress.passes.depth.worth import Judge, Worth, worths
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime.source import feeds_of
from onnxcompress.shapes import ShapeTable, infer

if TYPE_CHECKING:
    from onnxcompress.passes.prune_blocks import PruneBlocks

TRIED = 8
"""How many of the cheapest units are taken out in turn to see what the outputs lose."""

_BATCH = 16


def check_options(options: PruneBlocks) -> None:
    """Refuse a fraction that is out of range.

    Raises:
        UsageError: Naming the option.
    """
    if not 0.0 <= options.blocks < 1.0:
        why, hint = (
            "it is the fraction of the residual branches to remove, from 0 to less than 1",
            "Write --blocks 0.3.",
        )
        raise UsageError(f"--blocks {options.blocks:g} is out of range", why=why, hint=hint, code="USAGE-PRUNE-RATIO")
    if options.block_samples < 1:
        hint = "Write --block-samples 64."
        raise UsageError("--block-samples starts at 1", hint=hint, code="USAGE-PRUNE-COUNT")


def shorten(model: ir.Model, ctx: Context, options: PruneBlocks) -> Iterator[Finding]:
    """Take whole branches out of `model`, in place."""
    work = _Work(model, ctx, options)
    there = work.units()
    wanted = round(options.blocks * len(there))
    if wanted < 1:
        yield Finding("BLOCK-NOTHING", _why_nothing(len(there), options), severity=Severity.WARNING)
        return
    if ctx.data is None:
        told = "branches were compared on random inputs, without data: what the model loses is a guess"
        yield Finding("BLOCK-GUESSED", told, severity=Severity.WARNING)
    for done in range(wanted):
        ctx.progress("prune-blocks", done, wanted)
        found = work.step()
        if found is None:
            told = f"{done} of {wanted} were removed: without another one an input or every number would be lost"
            yield Finding("BLOCK-TARGET-MISSED", told, severity=Severity.WARNING)
            return
        yield from found


def _why_nothing(count: int, options: PruneBlocks) -> str:
    if not count:
        return "no branch was removed: no Add in scope joins a computed branch with what it started from"
    return f"no branch was removed: --blocks {options.blocks:g} of {count} is no more than half a branch"


@dataclass(frozen=True)
class _Trial:
    """A candidate as it would be without one unit."""

    unit: Unit
    worth: tuple[Worth, ...]
    loss: float


class _Work:
    """The model as shortened so far, and what is needed to go on."""

    def __init__(self, model: ir.Model, ctx: Context, options: PruneBlocks) -> None:
        self._model, self._ctx, self._options = model, ctx, options
        self._weighty = in_scope(model, ctx.scope.only, ctx.scope.exclude)
        self._any = in_scope(model, (), ctx.scope.exclude)
        self._inputs = unused_inputs(model)
        self._table = self._infer()
        self._feeds = self._batches(self._table)
        self._judge = Judge(ctx.original if ctx.data is not None else clone(model), self._feeds, ctx.runtime)

    def units(self) -> list[Unit]:
        """What may go, with the model as it is."""
        macs = costs(self._model, self._table).macs_by_node
        found = [b for b in branches(self._model, self._table, macs) if self._permitted(b, macs)]
        return units(found, self._options.block_unit)

    def step(self) -> list[Finding] | None:
        """Remove the unit that costs the outputs least; None where none can go."""
        best = self._best(self.units())
        if best is None:
            return None
        self._take(self._model, [branch.name for branch in best.unit], best.worth)
        self._table = self._infer()
        return [self._told(branch, worth, best.loss) for branch, worth in zip(best.unit, best.worth, strict=True)]

    def _best(self, there: Sequence[Unit]) -> _Trial | None:
        flat = [branch for unit in there for branch in unit]
        known = dict(zip(flat, worths(self._model, flat, self._feeds, self._ctx.runtime), strict=True))
        cheap = heapq.nsmallest(TRIED, there, key=lambda unit: sum(known[branch].share for branch in unit))
        trials = [self._tried(unit, tuple(known[branch] for branch in unit)) for unit in cheap]
        return min((t for t in trials if np.isfinite(t.loss)), key=lambda t: t.loss, default=None)

    def _tried(self, unit: Unit, worth: tuple[Worth, ...]) -> _Trial:
        candidate = clone(self._model)
        self._take(candidate, [branch.name for branch in unit], worth)
        lost = unused_inputs(candidate) - self._inputs
        return _Trial(unit, worth, float("inf") if lost else self._judge.loss(candidate))

    def _take(self, model: ir.Model, names: Sequence[str], worth: Sequence[Worth]) -> None:
        """Remove by name: a trial works on a copy, whose nodes are others."""
        for name, each in zip(names, worth, strict=True):
            macs = costs(model, self._table).macs_by_node
            branch = next((b for b in branches(model, self._table, macs) if b.name == name), None)
            if branch is not None:
                remove(model, branch, each.mean if self._ctx.data is not None else None, self._table)

    def _told(self, branch: Branch, worth: Worth, loss: float) -> Finding:
        text = f"the branch of {len(branch.nodes)} nodes into it went; it made {worth.share:.1%} of the sum's variance"
        numbers = {"share": worth.share, "output_error": loss, "macs": branch.macs}
        return Finding("BLOCK-REMOVED", text, branch.name, numbers=numbers)

    def _permitted(self, branch: Branch, macs: Mapping[str, int]) -> bool:
        """Nothing excluded goes; --only has to name the nodes that compute."""
        names = {label(node) for node in branch.nodes if node.op_type != "Constant"}
        return names <= self._any and names & macs.keys() <= self._weighty

    def _infer(self) -> ShapeTable:
        return infer(self._model, shapes=self._ctx.shapes, runtime=self._ctx.runtime)

    def _batches(self, table: ShapeTable) -> list[dict[str, np.ndarray]]:
        source, ctx = self._ctx.data, self._ctx
        if source is None:
            return [dict(table.feeds)]
        drawn = source.draw(self._options.block_samples, seed=ctx.seed)
        return [feeds.arrays for feeds in feeds_of(self._model, drawn, batch=_BATCH)]
