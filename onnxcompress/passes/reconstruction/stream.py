"""Run a model piece by piece over a few batches, keeping only the tensors that later nodes still read.

A stream advances through the nodes in topological order. Each piece is an ONNX Runtime session of its own, so that
every node runs once however many stops there are (re-running the prefix for every layer would be quadratic), and the
weights of nodes that lie ahead may be edited between two stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.runtime import Session, runnable_part

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions

Run = dict[str, np.ndarray]


class Stream:
    """One model, several batches, one position.

    Args:
        model: The model; read anew at every stop, so edits of weights ahead take effect.
        runs: One dict of input arrays a batch.
        keep: Names of tensors that must stay available from the moment they are computed until `drop` is called.
        options: How ONNX Runtime is used.
    """

    def __init__(
        self, model: ir.Model, runs: Sequence[Mapping[str, np.ndarray]], keep: Iterable[str], options: RuntimeOptions
    ) -> None:
        self._model, self._options = model, options
        self._nodes = list(model.graph)
        self._keep = set(keep)
        self._at = 0
        self._runs: list[Run] = [dict(feeds) for feeds in runs]
        self._last_use = self._last_uses()
        part, _ = runnable_part(model, options)
        self._runs_all = part is model
        self._runnable = {v.name for node in part.graph for v in node.outputs}

    def advance_before(self, index: int) -> None:
        """Compute everything before the node at `index` of the topological order."""
        if index > self._at:
            self._execute(self._at, index)
            self._at = index

    def value(self, run: int, name: str) -> np.ndarray | None:
        """A tensor of one batch, or None where it is not (or no longer) there."""
        return self._runs[run].get(name)

    def drop(self, names: Iterable[str]) -> None:
        """Tensors that are no longer needed for their own sake."""
        self._keep -= set(names)

    def _last_uses(self) -> dict[str, int]:
        last: dict[str, int] = {}
        for index, node in enumerate(self._nodes):
            for value in _reads(node):
                last[value.name or ""] = index
        return last

    def _execute(self, start: int, stop: int) -> None:
        wanted = self._live_after(start, stop)
        if wanted:
            session, inputs = self._session(start, stop, wanted)
            for run in self._runs:
                run.update(session.run({n: run[n] for n in inputs}))
        for run in self._runs:
            for name in [n for n in run if self._last_use.get(n, -1) < stop and n not in self._keep]:
                del run[name]

    def _live_after(self, start: int, stop: int) -> list[str]:
        made = [v.name or "" for node in self._nodes[start:stop] for v in node.outputs if v.name]
        made = made if self._runs_all else [n for n in made if n in self._runnable]
        return [n for n in made if self._last_use.get(n, -1) >= stop or n in self._keep]

    def _session(self, start: int, stop: int, wanted: Sequence[str]) -> tuple[Session, list[str]]:
        piece = graph.clone(self._model)
        nodes = list(piece.graph)
        chosen = _needed(nodes[start:stop], set(wanted))
        made = {v.name for node in chosen for v in node.outputs}
        reads = {v.name for node in chosen for v in _reads(node) if v.name and v.name not in made}
        inputs = sorted(n for n in reads if n in self._runs[0])
        # Constants made before this piece (by Constant nodes) were never streamed; run their nodes here again.
        extra = _constant_nodes(nodes[:start], reads - set(inputs))
        return Session(_submodel(piece, [*extra, *chosen], inputs, wanted, self._runs[0]), self._options), inputs


def _reads(node: ir.Node) -> list[ir.Value]:
    """Values a node reads, the captures of its subgraphs among them."""
    values = [v for v in node.inputs if v is not None]
    for attribute in node.attributes.values():
        graphs = [attribute.value] if attribute.type == ir.AttributeType.GRAPH else []
        graphs = list(attribute.value) if attribute.type == ir.AttributeType.GRAPHS else graphs
        for body in graphs:
            own = {id(v) for inner in body.all_nodes() for v in inner.outputs}
            values += [v for inner in body.all_nodes() for v in inner.inputs if v is not None and id(v) not in own]
            values += [v for v in body.outputs if id(v) not in own]
    return values


def _needed(nodes: Sequence[ir.Node], wanted: set[str]) -> list[ir.Node]:
    chosen: list[ir.Node] = []
    missing = set(wanted)
    for node in reversed(nodes):
        if any(v.name in missing for v in node.outputs):
            chosen.append(node)
            missing |= {v.name or "" for v in _reads(node)}
    return chosen[::-1]


def _constant_nodes(nodes: Sequence[ir.Node], names: set[str]) -> list[ir.Node]:
    return [n for n in nodes if n.op_type == "Constant" and any(v.name in names for v in n.outputs)]


def _submodel(
    piece: ir.Model, nodes: Sequence[ir.Node], inputs: Sequence[str], outputs: Sequence[str], sample: Run
) -> ir.Model:
    by_name = {v.name: v for node in nodes for v in (*_reads(node), *node.outputs)}
    constants = [v for n, v in piece.graph.initializers.items() if n in by_name and n not in inputs]
    whole = piece.graph
    for part in (whole.inputs, whole.outputs, whole.initializers):
        part.clear()
    for node in list(whole):
        whole.remove(node)
    feeds = [_as_input(by_name[n], sample[n]) for n in inputs]
    ends = [by_name[n] for n in outputs]
    body = ir.Graph(
        feeds, ends, nodes=nodes, initializers=constants, opset_imports=piece.graph.opset_imports, name="piece"
    )
    return ir.Model(body, ir_version=piece.ir_version, functions=list(piece.functions.values()))


def _as_input(value: ir.Value, sample: np.ndarray) -> ir.Value:
    """A graph input in the place of `value`, of known type and rank and free sizes."""
    fresh = ir.Value(
        name=value.name,
        shape=ir.Shape([f"{value.name}_{axis}" for axis in range(sample.ndim)]),
        type=ir.TensorType(ir.DataType.from_numpy(sample.dtype)),
    )
    value.replace_all_uses_with(fresh)
    return fresh
