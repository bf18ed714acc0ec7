"""From the user's words to counts: checks the options, resolves rates, and allocates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.cost import Costs
from onnxcompress.errors import UsageError
from onnxcompress.graph import label, select_nodes
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning import allocate
from onnxcompress.passes.pruning.budget import Budget, mac_budget, parameter_budget
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.rates import check_rate, layer_rate
from onnxcompress.passes.pruning.surgery import all_lists
from onnxcompress.passes.pruning.trace import Trace

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels

_RATES = ("ratio", "filter_ratio", "channel_ratio", "neuron_ratio")


def check_options(options: PruneChannels) -> None:
    """Refuse what contradicts itself or asks for nothing.

    Raises:
        UsageError: Naming the option.
    """
    for name in _RATES:
        check_rate(name, getattr(options, name) or 0.0)
    for entry in options.layer:
        layer_rate(entry)
    goals = [name for name in ("target_macs", "target_params") if getattr(options, name)]
    rates = [name for name in _RATES if getattr(options, name)] + (["layer"] if options.layer else [])
    if len(goals) > 1 or (goals and rates):
        both = " and ".join(f"--{name.replace('_', '-')}" for name in (goals + rates)[:2])
        hint = "Give one of --ratio, --target-macs, --target-params; --layer and the ratios by kind refine --ratio."
        raise UsageError(f"{both} exclude each other", hint=hint, code="USAGE-PRUNE-AMBIGUOUS")
    if not goals and not rates and options.ratio is None:
        hint = "Give --ratio 0.5, --target-macs 0.5x or --target-params 0.5x."
        raise UsageError("prune-channels was not told how much", hint=hint, code="USAGE-PRUNE-NO-AMOUNT")
    if options.min_channels < 1 or (options.align is not None and options.align < 1):
        hint = "Give a number of channels, 1 or more."
        raise UsageError("--min-channels and --align start at 1", hint=hint, code="USAGE-PRUNE-COUNT")


def decide(found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, costs: Costs) -> np.ndarray:
    """One bool an atom's representative: True where the class goes.

    The undo rule: an axis that would be left empty gets a channel back, its cell may give no more, and the rest is
    decided again.
    """
    while True:
        budget, goal = _budget(found, cells, options, costs)
        counts = _counts(found, cells, options, ctx, budget, goal)
        possible = _refilled(found, cells, budget, counts)
        gone = budget.removed(possible)
        if np.array_equal(counts, possible):
            return gone
        cells = [
            cell if before == after else cell.trimmed(after)
            for cell, before, after in zip(cells, counts.tolist(), possible.tolist(), strict=True)
        ]


def allocation(options: PruneChannels, ctx: Context) -> str:
    """How much where: as the user said, or by what is known."""
    if options.allocation != "auto":
        return options.allocation
    goal = bool(options.target_macs or options.target_params)
    return "sensitivity" if goal and ctx.data is not None else "uniform"


def _counts(
    found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, budget: Budget, goal: float | None
) -> np.ndarray:
    align = options.align if options.align is not None else ctx.target.channel_alignment
    limits = allocate.Limits(align, options.align is not None, options.min_channels)
    if goal is not None:
        reach = allocate.greedy_to if allocation(options, ctx) in ("global", "sensitivity") else allocate.uniform_to
        return reach(cells, budget, goal, limits)
    rates = _rates(found, cells, options)
    if allocation(options, ctx) in ("global", "sensitivity") and not options.layer:
        wanted = sum(rate * cell.width for rate, cell in zip(rates, cells, strict=True))
        return allocate.greedy(cells, lambda now, _: now.sum() >= wanted, None, limits)
    return allocate.uniform(cells, rates, limits)


def _budget(found: Trace, cells: list[Cell], options: PruneChannels, costs: Costs) -> tuple[Budget, float | None]:
    if options.target_params:
        goal = allocate.goal_of(options.target_params, costs.params, "--target-params")
        return parameter_budget(found, cells, costs.params), goal
    budget = mac_budget(found, cells, costs.macs_by_node, costs.macs)
    if not options.target_macs:
        return budget, None
    return budget, allocate.goal_of(options.target_macs, costs.macs, "--target-macs")


def _rates(found: Trace, cells: list[Cell], options: PruneChannels) -> list[float]:
    by_layer: list[tuple[set[str], float]] = []
    for entry in options.layer:
        pattern, rate = layer_rate(entry)
        by_layer.append((select_nodes(found.model, [pattern]), rate))
    read = _read_by_convolutions(found) if options.channel_ratio else set[int]()
    return [_rate(cell, options, by_layer, read) for cell in cells]


def _rate(cell: Cell, options: PruneChannels, by_layer: list[tuple[set[str], float]], read: set[int]) -> float:
    makers = {label(producer.node) for producer in cell.producers}
    for names, rate in reversed(by_layer):
        if makers & names:
            return rate
    kinds: Mapping[str, float] = {"filter": options.filter_ratio, "neuron": options.neuron_ratio}
    rates = [kinds[producer.kind] for producer in cell.producers]
    if read & set(cell.order.ravel().tolist()):
        rates.append(options.channel_ratio)
    return max(rates, default=0.0) or options.ratio or 0.0


def _read_by_convolutions(found: Trace) -> set[int]:
    roots: set[int] = set()
    for node in found.model.graph:
        if node.op_type in ("Conv", "ConvTranspose") and node.inputs[0] in found.labels:
            ids = found.labels[node.inputs[0]][1]
            if ids is not None:
                roots.update(found.atoms.roots(ids).tolist())
    return roots


def _refilled(found: Trace, cells: list[Cell], budget: Budget, counts: np.ndarray) -> np.ndarray:
    """Counts at which no axis is empty: each empty one gets the last channel of every row of one of its cells back."""
    counts = counts.copy()
    owner = np.full(len(found.atoms), -1)
    for i, cell in enumerate(cells):
        owner[cell.order.ravel()] = i
    gone = budget.removed(counts)
    for roots in (found.atoms.roots(ids) for ids in all_lists(found)):
        # What is given back fills other axes too and empties none, so that one look at each is enough.
        while len(roots) and gone[roots].all():
            giver = owner[roots].max()
            counts[giver] -= 1
            gone[cells[giver].order[:, counts[giver]]] = False
    return counts
