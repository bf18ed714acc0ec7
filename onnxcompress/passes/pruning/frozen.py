"""What must stay, and why: a finding for each layer, counts by reason, and the graph input behind a fixed partner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.passes.pruning.atoms import Freeze
from onnxcompress.passes.pruning.rules import MOVEMENT
from onnxcompress.passes.pruning.rules_elementwise import UNARY
from onnxcompress.passes.pruning.trace import Producer, Trace
from onnxcompress.report import Finding

_THROUGH = {*MOVEMENT, *UNARY, "Gather"}


@dataclass(frozen=True)
class Reason:
    """Why channels stay: a stable code, the node that holds them, a clause, and the output where it is one."""

    code: str
    node: str
    why: str
    output: str = ""


def frozen_findings(found: Trace) -> Iterator[Finding]:
    """One finding for each producer of which nothing may go."""
    frozen, held = found.atoms.frozen(), found.atoms.reasons()
    told = reasons(found)
    for producer in found.producers:
        roots = np.unique(found.atoms.roots(producer.ids))
        if frozen[roots].all():
            yield _finding(producer, told[id(held[int(roots[0])])])


def reason_counts(found: Trace) -> str:
    """``20 of 60 channels must stay (PRUNE-FROZEN-OUTPUT 10, PRUNE-FROZEN-OP 10)``; each channel counts once."""
    whole, by_reason = channel_counts(found)
    if not whole:
        return "no operator of this model makes channels with weights"
    listed = ", ".join(f"{code} {count:,}" for code, count in by_reason.items())
    return f"{sum(by_reason.values()):,} of {whole:,} channels must stay" + (f" ({listed})" if listed else "")


def channel_counts(found: Trace) -> tuple[int, dict[str, int]]:
    """How many channels producers make, and how many are frozen by which reason (the first), most frequent first."""
    made = [found.atoms.roots(producer.ids) for producer in found.producers]
    roots = np.unique(np.concatenate(made)) if made else np.zeros(0, np.int64)
    held, told = found.atoms.reasons(), reasons(found)
    counts = Counter(told[id(held[root])].code for root in roots[found.atoms.frozen()[roots]].tolist())
    return len(roots), dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def reasons(found: Trace) -> dict[int, Reason]:
    """The reason behind every freeze that is the first of a class, by the freeze's `id`."""
    nodes = {label(node): node for node in found.model.graph}
    first = {id(freeze): freeze for freeze in found.atoms.reasons().values()}
    return {key: _reason(freeze, nodes.get(freeze.node)) for key, freeze in first.items()}


def _reason(freeze: Freeze, node: ir.Node | None) -> Reason:
    """Where a partner is fixed because it is a graph input, that input is named."""
    held = _input_behind(node) if freeze.code == "PRUNE-FROZEN-PARTNER" else ""
    if held:
        return Reason("PRUNE-FROZEN-INPUT", freeze.node, f"it meets the graph input {held}, whose size is the caller's")
    return Reason(freeze.code, freeze.node, freeze.why, freeze.output)


def _finding(producer: Producer, reason: Reason) -> Finding:
    where = f" at {reason.node}" if reason.node and reason.node != label(producer.node) else ""
    numbers = {"output": reason.output} if reason.output else {}
    text = f"{len(producer.ids)} channels stay: {reason.why}{where}"
    return Finding(reason.code, text, label(producer.node), numbers=numbers)


def _input_behind(node: ir.Node | None) -> str:
    """The graph input that reaches a node through movement and pointwise ops alone."""
    values = [] if node is None else [v for v in node.inputs if v is not None]
    while values:
        value = values.pop()
        maker = value.producer()
        if maker is None and value.is_graph_input() and not value.is_initializer():
            return value.name or ""
        if maker is not None and maker.op_type in _THROUGH and maker.inputs[0] is not None:
            values.append(maker.inputs[0])
    return ""
