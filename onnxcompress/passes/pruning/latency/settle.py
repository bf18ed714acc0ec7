"""From a time to a decision: measures the layers, decides at a level of their budget, times the whole, and corrects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import GateError
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning import steps
from onnxcompress.passes.pruning.budget import Budget, Pieces
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.frozen import reason_counts
from onnxcompress.passes.pruning.latency.budget import LatencyBudget
from onnxcompress.passes.pruning.latency.measure import Stopwatch
from onnxcompress.passes.pruning.latency.search import Timer, Timing, search, tolerance
from onnxcompress.passes.pruning.plan import Decision, decide
from onnxcompress.passes.pruning.rates import floor_of, is_absolute, latency_goal
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.report import Finding, Severity
from onnxcompress.runtime import batch_for
from onnxcompress.shapes import probe_feeds

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels

CutCopy = Callable[[np.ndarray], ir.Model]
"""A copy of the model without the classes that a decision removes."""


def settle(
    found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, cut_copy: CutCopy
) -> tuple[Decision, Finding]:
    """The decision whose model takes the time asked for, and what was measured.

    Raises:
        GateError: Where no cut is fast enough, saying what the fastest takes.
        UsageError: Where the target cannot be read.
    """
    work = _Work(found, cells, options, ctx, cut_copy)
    timings = search(work.goal, work.lowest(), work.timed)
    best = timings[0]
    missed = best.ratio > work.goal + tolerance(best, work.goal)
    if missed and not options.allow_miss:
        raise _missed(options, found, best)
    return work.decision(best.level), _told(best, len(timings), work, missed=missed)


class _Work:
    """What the search asks, over and over."""

    def __init__(
        self, found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, cut_copy: CutCopy
    ) -> None:
        self._found, self._cells, self._options, self._ctx, self._copy = found, cells, options, ctx, cut_copy
        self._timer = Timer(found.model, _feeds(found.model, options, ctx), ctx.runtime)
        alone = self._timer.of(found.model, 1.0)
        self.goal = latency_goal(options.target_latency, alone.original_ms)
        self.watch = Stopwatch(ctx.runtime)
        probe = Timer(found.model, found.table.feeds, ctx.runtime, rounds=5).of(found.model, 1.0)
        self._budgets = LatencyBudget(found, self.watch, probe.original_ms / 1e3)
        self._done: dict[float, Decision] = {}

    def lowest(self) -> float:
        """The level that remains when every cell gives all that it may."""
        budget, limits = self._budget(self._cells)
        if not budget.whole:
            return 1.0
        return budget.cost(np.array([stops[-1] for stops in limits], np.int64)) / budget.whole

    def decision(self, level: float) -> Decision:
        """What goes at a level of the budget."""
        if level not in self._done:
            self._done[level] = decide(self._found, self._cells, self._options, self._ctx, self._aim(level))
        return self._done[level]

    def timed(self, level: float) -> Timing:
        """The model cut at a level, beside the original."""
        self._ctx.progress("target-latency", len(self._done), 0)
        return self._timer.of(self._copy(self.decision(level).removed), level)

    def _aim(self, level: float) -> Callable[[list[Cell]], tuple[Budget, float | None]]:
        def aim(cells: list[Cell]) -> tuple[Budget, float | None]:
            budget, _ = self._budget(cells)
            return budget, level * budget.whole

        return aim

    def _budget(self, cells: Sequence[Cell]) -> tuple[Pieces, list[np.ndarray]]:
        """The measured budget, and the counts at which the layers were measured."""
        given, floor = self._options.align, floor_of(self._options.min_channels)
        multiples = steps.multiples(cells, self._ctx.target) if given is None else [given] * len(cells)
        limits = [steps.stops(cell, each, floor) for cell, each in zip(cells, multiples, strict=True)]
        return self._budgets.of(cells, limits), limits


def _feeds(model: ir.Model, options: PruneChannels, ctx: Context) -> Mapping[str, np.ndarray]:
    """One sample where a time was asked for; else as many as make 10 ms, below which ratios are mostly overhead."""
    single = probe_feeds(model, shapes=ctx.shapes, batch=1, seed=ctx.seed, options=ctx.runtime)
    return single if is_absolute(options.target_latency) else batch_for(model, single, options=ctx.runtime)


def _told(best: Timing, cuts: int, work: _Work, *, missed: bool) -> Finding:
    text = (
        f"a run takes {best.ms:.3g} ms, {best.ratio:.2f}x of {best.original_ms:.3g} ms (A/A spread {best.spread:.1%}); "
        f"{len(work.watch.seconds)} layer widths and {cuts} whole models were timed on this machine"
    )
    numbers = {"ratio": best.ratio, "goal": work.goal, "ms": best.ms, "spread": best.spread, "cuts": cuts}
    if missed:
        return Finding("PRUNE-TARGET-MISSED", text, severity=Severity.WARNING, numbers=numbers)
    return Finding("PRUNE-LATENCY", text, numbers=numbers)


def _missed(options: PruneChannels, found: Trace, best: Timing) -> GateError:
    nearest = np.ceil(100 * best.ratio + 1e-9) / 100 + 0.01
    instead = f"Ask for --target-latency {nearest:g}x, take" if nearest < 1 else "Take"
    return GateError(
        f"--target-latency {options.target_latency} cannot be met; nothing was written",
        why=f"the fastest cut takes {best.ms:.3g} ms where the model takes {best.original_ms:.3g} ms "
        f"(median of the paired ratios {best.ratio:.2f}x); " + reason_counts(found),
        hint=f"{instead} what there is with --allow-miss, or see what holds the rest "
        "with `onnxcompress prune MODEL --explain`.",
        code="GATE-TARGET-MISSED",
    )
