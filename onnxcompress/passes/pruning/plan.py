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
        _check_rate(name, getattr(options, name))
    for entry in options.layer:
        _layer_rate(entry)
    goals = [name for name in ("target_macs", "target_params") if getattr(options, name)]
    rates = [name for name in _RATES if getattr(options, name)] + (["layer"] if options.layer else [])
    if len(goals) > 1 or (goals and rates):
        both = " and ".join(f"--{name.replace('_', '-')}" for name in (goals + rates)[:2])
        hint = "Give one of --ratio, --target-macs, --target-params; --layer and the ratios by kind refine --ratio."
        raise UsageError(f"{both} exclude each other", hint=hint, code="USAGE-PRUNE-AMBIGUOUS")
    if options.min_channels < 1 or (options.align is not None and options.align < 1):
        hint = "Give a number of channels, 1 or more."
        raise UsageError("--min-channels and --align start at 1", hint=hint, code="USAGE-PRUNE-COUNT")


def _check_rate(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        flag = f"--{name.replace('_', '-')}"
        hint = f"Write {flag} 0.5 to remove half."
        why = "it is the fraction to remove, from 0 to less than 1"
        raise UsageError(f"{flag} {value:g} is out of range", why=why, hint=hint, code="USAGE-PRUNE-RATIO")


def _layer_rate(entry: str) -> tuple[str, float]:
    pattern, sign, rate = entry.rpartition("=")
    try:
        value = float(rate)
    except ValueError:
        value = -1.0
    if not sign or not pattern or not 0.0 <= value < 1.0:
        hint = "Write NAME=0.3, re:REGEX=0.3 or op:Conv=0.3."
        raise UsageError(f"cannot read --layer {entry!r}", hint=hint, code="USAGE-PRUNE-LAYER")
    return pattern, value


def decide(found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, costs: Costs) -> np.ndarray:
    """One bool an atom's representative: True where the class goes."""
    strict = options.align is not None
    align = options.align if options.align is not None else ctx.target.channel_alignment
    limits = allocate.Limits(align, strict, options.min_channels)
    budget, goal = _budget(found, cells, options, costs)
    if goal is not None:
        reach = allocate.greedy_to if options.allocation == "global" else allocate.uniform_to
        counts = reach(cells, budget, goal, limits)
    elif options.allocation == "global" and not options.layer:
        wanted = sum(rate * cell.width for rate, cell in zip(_rates(found, cells, options), cells, strict=True))
        counts = allocate.greedy(cells, lambda now: now.sum() >= wanted, budget, limits)
    else:
        counts = allocate.uniform(cells, _rates(found, cells, options), limits)
    return _refilled(found, cells, budget, counts)


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
        pattern, rate = _layer_rate(entry)
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
    return max(rates, default=0.0) or options.ratio


def _read_by_convolutions(found: Trace) -> set[int]:
    roots: set[int] = set()
    for node in found.model.graph:
        if node.op_type in ("Conv", "ConvTranspose") and node.inputs[0] in found.labels:
            ids = found.labels[node.inputs[0]][1]
            if ids is not None:
                roots.update(found.atoms.roots(ids).tolist())
    return roots


def _refilled(found: Trace, cells: list[Cell], budget: Budget, counts: np.ndarray) -> np.ndarray:
    """The undo rule: an axis that would be left empty gets its last channel of each row back."""
    counts = counts.copy()
    owner = np.full(len(found.atoms), -1)
    for i, cell in enumerate(cells):
        owner[cell.order.ravel()] = i
    lists = [np.unique(found.atoms.roots(ids)) for ids in all_lists(found)]
    while True:
        gone = budget.removed(counts)
        empty = [roots for roots in lists if gone[roots].all()]
        if not empty:
            return gone
        for roots in empty:
            best = max((i for i in set(owner[roots].tolist()) if counts[i]), default=None)
            if best is not None:
                counts[best] -= 1
