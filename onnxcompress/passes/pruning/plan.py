"""From the user's words to counts: checks the options, resolves rates, and allocates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.cost import Costs
from onnxcompress.errors import GateError, UsageError
from onnxcompress.graph import label, select_nodes
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning import allocate, steps
from onnxcompress.passes.pruning.budget import Budget, channel_budget, mac_budget, parameter_budget, removed
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.frozen import reason_counts
from onnxcompress.passes.pruning.rates import check_goal, check_rate, floor_of, goal_of, layer_rate
from onnxcompress.passes.pruning.surgery import all_lists
from onnxcompress.passes.pruning.trace import Trace

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels

_RATES = ("ratio", "filter_ratio", "channel_ratio", "neuron_ratio")
TARGETS = {"macs": "multiply-adds", "params": "parameters"}
"""Costs that a target may name, as ``--target-macs``, and what they are called."""


@dataclass(frozen=True, eq=False)
class Decision:
    """What goes.

    Attributes:
        counts: Columns that each cell gives.
        removed: One bool an atom's representative: True where the class goes.
        goal: The cost asked for; None where a ratio was.
        reached: The cost that it comes to, in the goal's kind.
        whole: The same before.
    """

    counts: np.ndarray
    removed: np.ndarray
    goal: float | None
    reached: float
    whole: float

    @property
    def missed(self) -> bool:
        """Whether the goal lies beyond what may be cut."""
        return self.goal is not None and self.reached > self.goal + 1e-9 * self.whole


def check_options(options: PruneChannels) -> None:
    """Refuse what contradicts itself or asks for nothing.

    Raises:
        UsageError: Naming the option.
    """
    for name in _RATES:
        check_rate(name, getattr(options, name) or 0.0)
    for entry in options.layer:
        layer_rate(entry)
    if options.plan:
        _check_alone(options)
        return
    floor_of(options.min_channels)
    goals = [name for name in ("target_macs", "target_params", "target_latency") if getattr(options, name)]
    for name in goals:
        check_goal(name, getattr(options, name))
    rates = [name for name in _RATES if getattr(options, name)] + (["layer"] if options.layer else [])
    if len(goals) > 1 or (goals and rates):
        both = " and ".join(f"--{name.replace('_', '-')}" for name in (goals + rates)[:2])
        hint = "Give one --target-..., or --ratio, which --layer and the ratios by kind refine."
        raise UsageError(f"{both} exclude each other", hint=hint, code="USAGE-PRUNE-AMBIGUOUS")
    if not goals and not rates and options.ratio is None:
        hint = "Give --ratio 0.5, --target-macs 0.5x, --target-params 0.5x or --target-latency 0.6x."
        raise UsageError("prune-channels was not told how much", hint=hint, code="USAGE-PRUNE-NO-AMOUNT")
    if options.align is not None and options.align < 1:
        hint = "Give a number of channels, 1 or more."
        raise UsageError(f"--align {options.align} is out of range", hint=hint, code="USAGE-PRUNE-COUNT")


def _check_alone(options: PruneChannels) -> None:
    """A saved plan says all: what else would choose contradicts it."""
    chooses = (*_RATES, *(f"target_{kind}" for kind in (*TARGETS, "latency")), "layer")
    other = next((name for name in chooses if getattr(options, name)), None)
    if other is not None:
        hint = "Leave one of them out."
        text = f"--plan and --{other.replace('_', '-')} exclude each other"
        raise UsageError(text, why="the plan says which channels go", hint=hint, code="USAGE-PRUNE-AMBIGUOUS")


def check_layers(found: Trace, options: PruneChannels) -> None:
    """Refuse an entry of --layer that names no layer which makes channels.

    Raises:
        UsageError: Naming the entry, and layers that it may have meant.
    """
    makers = list(dict.fromkeys(label(producer.node) for producer in found.producers))
    for entry in options.layer:
        pattern, _ = layer_rate(entry)
        named = select_nodes(found.model, [pattern])
        if named.isdisjoint(makers):
            few = ", ".join(makers[:4]) + (", ..." if len(makers) > 4 else "")
            raise UsageError(
                f"--layer {entry} names no layer with channels of its own",
                why=f"{min(named)} only passes on what others make" if named else "",
                hint=f"Name the convolution or matrix product that makes them, such as {few or 'none in this model'}.",
                code="USAGE-PRUNE-LAYER",
            )


def emptied(found: Trace, gone: np.ndarray) -> bool:
    """Whether an axis would be left without any channel."""
    return bool(_Lists(found).empty(gone))


Aim = Callable[[list[Cell]], tuple[Budget, float | None]]
"""From the cells to the cost that counts, and what it is to come to; None where rates decide."""


def aim_of(found: Trace, options: PruneChannels, costs: Costs) -> Aim:
    """What the options ask for."""
    return lambda cells: _budget(found, cells, options, costs)


def decide(found: Trace, cells: list[Cell], options: PruneChannels, ctx: Context, aim: Aim) -> Decision:
    """How much every cell gives.

    The undo rule: an axis that would be left empty gets a channel back, its cell may give no more, and the rest is
    decided again.
    """
    lists = _Lists(found)
    while True:
        budget, goal = aim(cells)
        counts = _Allocation(found, cells, options, ctx, budget).counts(goal)
        possible = lists.refilled(cells, counts)
        if np.array_equal(counts, possible):
            gone = removed(cells, counts, len(found.atoms))
            return Decision(counts, gone, goal, budget.cost(counts), budget.whole)
        cells = [
            cell if before == after else cell.trimmed(after)
            for cell, before, after in zip(cells, counts.tolist(), possible.tolist(), strict=True)
        ]


def allocation(options: PruneChannels, ctx: Context) -> str:
    """How much where: as the user said, or by what is known."""
    if options.allocation != "auto":
        return options.allocation
    goal = bool(options.target_macs or options.target_params or options.target_latency)
    return "sensitivity" if goal and ctx.data is not None else "uniform"


def refuse_missed(decision: Decision, found: Trace, options: PruneChannels) -> None:
    """Refuse a target that cannot be met, with the best that can.

    Raises:
        GateError: Saying what is reached at best, and what holds the rest.
    """
    if not decision.missed or options.allow_miss:
        return
    kind = "macs" if options.target_macs else "params"
    asked = options.target_macs or options.target_params
    best = np.ceil(1000 * decision.reached / decision.whole) / 1000
    told = f"at best {decision.reached:,.0f} of {decision.whole:,.0f} {TARGETS[kind]} stay, {best:g}x"
    raise GateError(
        f"--target-{kind} {asked} cannot be met; nothing was written",
        why=f"{told}; {reason_counts(found)}",
        hint=f"Ask for --target-{kind} {best:g}x, take what there is with --allow-miss, or see what holds the rest "
        "with `onnxcompress prune MODEL --explain`.",
        code="GATE-TARGET-MISSED",
    )


@dataclass(frozen=True)
class _Allocation:
    """One decision for all cells, under one budget."""

    found: Trace
    cells: Sequence[Cell]
    options: PruneChannels
    ctx: Context
    budget: Budget

    def counts(self, goal: float | None) -> np.ndarray:
        """With the target's multiples, or with smaller ones where those would overshoot the goal."""
        floor, wanted = floor_of(self.options.min_channels), goal
        rates = None if goal is not None else _rates(self.found, self.cells, self.options)
        shares = (allocate.FLOOR, 0.0) if self._global(rates) and goal is not None else (allocate.FLOOR,)
        counts = np.zeros(len(self.cells), np.int64)
        for share in shares if self._global(rates) else (0.0,):
            narrow = steps.Floor(floor.channels, max(floor.share, share))
            for divisor in self._divisors():
                counts = self._at(rates, wanted, narrow, divisor)
                if goal is None or goal - allocate.MISS * self.budget.whole <= self.budget.cost(counts) <= goal:
                    return counts
        return counts

    def _at(self, rates: list[float] | None, goal: float | None, floor: steps.Floor, divisor: int) -> np.ndarray:
        strict, cells = self.options.align is not None, self.cells
        limits = [
            steps.stops(cell, max(1, multiple // divisor), floor, strict=strict)
            for cell, multiple in zip(cells, self._multiples(), strict=True)
        ]
        if goal is not None:
            reach = allocate.walk_to if self._global(rates) else allocate.uniform_to
            return reach(cells, self.budget, goal, limits)
        assert rates is not None
        if self._global(rates):
            channels = channel_budget(cells, len(self.found.atoms))
            wanted = sum(rate * cell.width * cell.channels for rate, cell in zip(rates, cells, strict=True))
            return allocate.walk_to(cells, channels, channels.whole - wanted, limits)
        return allocate.uniform(cells, self.budget, rates, limits)

    def _global(self, rates: list[float] | None) -> bool:
        walks = allocation(self.options, self.ctx) in ("global", "sensitivity")
        return walks and not (rates is not None and self.options.layer)

    def _multiples(self) -> list[int]:
        given = self.options.align
        return steps.multiples(self.cells, self.ctx.target) if given is None else [given] * len(self.cells)

    def _divisors(self) -> list[int]:
        most = 1 if self.options.align is not None else max(self._multiples(), default=1)
        return [1 << power for power in range(most.bit_length())]


def _budget(found: Trace, cells: list[Cell], options: PruneChannels, costs: Costs) -> tuple[Budget, float | None]:
    if options.target_params:
        goal = goal_of(options.target_params, costs.params, "--target-params")
        return parameter_budget(found, cells, costs.params), goal
    budget = mac_budget(found, cells, costs.macs_by_node, costs.macs)
    if not options.target_macs:
        return budget, None
    return budget, goal_of(options.target_macs, costs.macs, "--target-macs")


def _rates(found: Trace, cells: Sequence[Cell], options: PruneChannels) -> list[float]:
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


class _Lists:
    """Every labelled axis, one after the other."""

    def __init__(self, found: Trace) -> None:
        self._lists = [ids for ids in all_lists(found) if len(ids)]
        self._size = len(found.atoms)
        self._starts = np.cumsum([0, *map(len, self._lists)])[:-1]
        self._roots = found.atoms.roots(np.concatenate(self._lists)) if self._lists else np.zeros(0, np.int64)

    def refilled(self, cells: Sequence[Cell], counts: np.ndarray) -> np.ndarray:
        """Counts at which no axis is empty: each empty one gets the last column of one of its cells back."""
        counts, gone = counts.copy(), removed(cells, counts, self._size)
        owner = np.full(self._size, -1)
        for i, cell in enumerate(cells):
            owner[cell.order.ravel()] = i
        # What is given back fills other axes too and empties none, so that one look at each is enough.
        for at in self.empty(gone):
            roots = self._roots[self._starts[at] : self._starts[at] + len(self._lists[at])]
            while gone[roots].all():
                giver = int(owner[roots].max())
                counts[giver] -= 1
                gone[cells[giver].order[:, counts[giver]]] = False
        return counts

    def empty(self, gone: np.ndarray) -> list[int]:
        """Axes of which all goes, by number."""
        if not len(self._starts):
            return []
        return np.flatnonzero(np.logical_and.reduceat(gone[self._roots], self._starts)).tolist()
