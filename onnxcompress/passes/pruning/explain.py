"""What could be cut, what could not and why: a survey, put into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.passes.base import Context
from onnxcompress.passes.pruning.budget import mac_budget, parameter_budget
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.frozen import Reason, channel_counts, reasons
from onnxcompress.passes.pruning.plan import check_options
from onnxcompress.passes.pruning.survey import Survey, survey
from onnxcompress.passes.pruning.trace import Producer, Trace
from onnxcompress.report.explanation import Explanation, FreeGroup, HeldLayer

if TYPE_CHECKING:
    from onnxcompress.passes.prune_channels import PruneChannels

_OPTIONS = {
    "PRUNE-FROZEN-OUTPUT": "--allow-output {output}",
    "PRUNE-OUT-OF-SCOPE": "leave it out of --exclude, or add it to --only",
}


def explain(model: ir.Model, ctx: Context, options: PruneChannels) -> Explanation:
    """Every group of `model`, which is not edited, and what `options` would cut.

    Raises:
        UsageError: Where `options` contradict themselves or name what is not there.
    """
    check_options(options)
    seen = survey(model, ctx, options)
    whole, frozen = channel_counts(seen.found)
    return Explanation(whole, frozen, _groups(seen), _held(seen.found), _reached(seen))


def _groups(seen: Survey) -> list[FreeGroup]:
    found, cells, counts = seen.found, seen.cells, np.zeros(len(seen.cells), np.int64)
    budgets = (
        mac_budget(found, cells, seen.costs.macs_by_node, seen.costs.macs),
        parameter_budget(found, cells, seen.costs.params),
    )
    members = _Members(found, cells)
    result: list[FreeGroup] = []
    for i, cell in enumerate(cells):
        every = np.array([cell.order.shape[1]])
        scale = cell.width / cell.order.shape[1]
        macs, params = (
            min(1.0, scale * float(b.savings(i, counts, every)[0]) / b.whole) if b.whole else 0.0 for b in budgets
        )
        makers = list(dict.fromkeys(label(producer.node) for producer in cell.producers))
        spread = np.quantile(cell.importance, [0.0, 0.5, 1.0])
        result.append(
            FreeGroup(
                name=cell.name,
                producers=makers,
                consumers=members.consumers[i],
                tensors=members.tensors[i],
                channels=cell.width * cell.channels,
                removed=int(seen.decision.counts[i]) * cell.channels,
                macs_share=macs,
                params_share=params,
                importance=(float(spread[0]), float(spread[1]), float(spread[2])),
            )
        )
    return result


class _Members:
    """Which linear nodes read each cell's channels, and which tensors carry them."""

    def __init__(self, found: Trace, cells: list[Cell]) -> None:
        self._owner = np.full(len(found.atoms), -1)
        for i, cell in enumerate(cells):
            self._owner[cell.order] = i
        self._roots = found.atoms.roots
        self.consumers: list[list[str]] = [[] for _ in cells]
        self.tensors: list[list[str]] = [[] for _ in cells]
        linear = {use.value for use in found.uses if use.linear}
        for value, labels in found.labels.items():
            mine = {i for ids in labels if ids is not None for i in self._cells(ids)}
            readers = [use.node for use in value.uses() if any(v in linear for v in use.node.inputs)]
            for i in sorted(mine):
                self.tensors[i].append(value.name or "")
                self.consumers[i] += [n for r in readers if (n := label(r)) not in self.consumers[i]]

    def _cells(self, ids: np.ndarray) -> list[int]:
        known = ids[ids < len(self._owner)]
        return [i for i in np.unique(self._owner[self._roots(known)]).tolist() if i >= 0]


def _held(found: Trace) -> list[HeldLayer]:
    first, told = found.atoms.reasons(), reasons(found)
    frozen = found.atoms.frozen()
    nodes = {label(node): node for node in found.model.graph}
    result: list[HeldLayer] = []
    for producer in found.producers:
        roots = np.unique(found.atoms.roots(producer.ids))
        stay = roots[frozen[roots]]
        if len(stay):
            freeze = first[int(stay[0])]
            axis = _axis(found, nodes.get(freeze.node), int(stay[0]))
            result.append(_layer(producer, len(roots), len(stay), told[id(freeze)], axis))
    return result


def _layer(producer: Producer, channels: int, held: int, reason: Reason, axis: str) -> HeldLayer:
    option = _OPTIONS.get(reason.code, "").format(output=reason.output)
    return HeldLayer(label(producer.node), channels, held, reason.code, reason.node, axis, reason.why, option)


def _axis(found: Trace, node: ir.Node | None, root: int) -> str:
    """Where a class lies at the node that holds it: the first axis of its inputs, then of its outputs."""
    values = [] if node is None else [v for v in (*node.inputs, *node.outputs) if v is not None]
    for value in values:
        for axis, ids in enumerate(found.labels.get(value, [])):
            if ids is not None and (found.atoms.roots(ids) == root).any():
                return f"axis {axis} of {value.name}"
    return ""


def _reached(seen: Survey) -> str:
    decision = seen.decision
    cut = sum(int(n) * cell.channels for n, cell in zip(decision.counts, seen.cells, strict=True))
    free = sum(cell.width * cell.channels for cell in seen.cells)
    missed = "; the target lies beyond what may be cut" if decision.missed else ""
    counts = np.asarray(decision.counts)
    after = mac_budget(seen.found, seen.cells, seen.costs.macs_by_node, seen.costs.macs)
    share = f", which leaves {after.cost(counts) / after.whole:.2f}x of the multiply-adds" if after.whole else ""
    return f"this request would cut {cut:,} of {free:,} channels{share}{missed}"
