"""Run a model piece by piece over a few batches, keeping only the tensors that later nodes still read.

A stream advances through the nodes in topological order. Each piece is an ONNX Runtime session of its own, made from
the nodes of that piece alone, so that time and memory are linear in the number of nodes however many stops there are
(re-running the prefix for every layer would be quadratic), and the weights of nodes that lie ahead may be edited
between two stops. Nodes whose inputs are all there share a stop. Tensors beyond a budget wait on disk.

What comes from constants alone (a weight behind a DequantizeLinear) is no tensor of the stream: each piece makes it
again for itself, so that such constants may be edited, or get nodes of their own, until their reader runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import is_constant
from onnxcompress.passes.reconstruction.spill import Store
from onnxcompress.runtime import Session, runnable_part

if TYPE_CHECKING:
    from onnxcompress.runtime_options import RuntimeOptions

Run = dict[str, np.ndarray]

_UNLIMITED = 1 << 62
_STILL = ("Constant", "Identity", "Cast", "Mul", "Transpose", "Reshape", "QuantizeLinear", "DequantizeLinear")
"""Operators that a weight passes through on its way to its reader."""


class Stream:
    """One model, several batches, one position.

    Args:
        model: The model; read anew at every stop, so edits of weights ahead take effect.
        runs: One dict of input arrays a batch.
        keep: Names of tensors that must stay available from the moment they are computed until `drop` is called.
        options: How ONNX Runtime is used.
        budget: Bytes of tensors in memory; more lie in a temporary folder until `close`.
    """

    def __init__(
        self,
        model: ir.Model,
        runs: Sequence[Mapping[str, np.ndarray]],
        keep: Iterable[str],
        options: RuntimeOptions,
        budget: int = _UNLIMITED,
    ) -> None:
        self._model, self._options = model, options
        self._nodes = list(model.graph)
        self._keep = set(keep)
        self._at = 0
        self._runs = len(runs)
        self._store = Store(budget)
        self._names: set[str] = set()
        for number, feeds in enumerate(runs):
            self._put(number, feeds)
        self._last_use = self._last_uses()
        self._still = {v.name for n in self._nodes for v in n.outputs if made_of_constants(v)}
        part, _ = runnable_part(model, options)
        self._runs_all = part is model
        self._runnable = {v.name for node in part.graph for v in node.outputs}

    def advance_before(self, index: int) -> None:
        """Compute everything before the node at `index` of the topological order."""
        if index > self._at:
            self._execute(self._at, index)
            self._at = index

    def peek(self, index: int, stop: int, name: str) -> list[np.ndarray]:
        """A tensor that the nodes from `index` up to `stop` make, for every batch, without advancing past `index`."""
        self.advance_before(index)
        session, inputs = self._session(index, stop, [name])
        return [session.run({n: self._store[run, n] for n in inputs})[name] for run in range(self._runs)]

    def has(self, name: str) -> bool:
        """Whether a tensor is there already."""
        return name in self._names

    def value(self, run: int, name: str) -> np.ndarray | None:
        """A tensor of one batch, or None where it is not (or no longer) there."""
        return self._store[run, name] if name in self._names else None

    def drop(self, names: Iterable[str]) -> None:
        """Tensors that are no longer needed for their own sake."""
        self._keep -= set(names)

    def close(self) -> None:
        """Forget every tensor and remove what lies on disk."""
        self._store.close()
        self._names.clear()

    def _put(self, run: int, arrays: Mapping[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            self._store[run, name] = array
            self._names.add(name)

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
            for run in range(self._runs):
                self._put(run, session.run({n: self._store[run, n] for n in inputs}))
        for name in [n for n in self._names if self._last_use.get(n, -1) < stop and n not in self._keep]:
            self._names.discard(name)
            for run in range(self._runs):
                del self._store[run, name]

    def _live_after(self, start: int, stop: int) -> list[str]:
        made = [v.name or "" for node in self._nodes[start:stop] for v in node.outputs if v.name]
        made = [n for n in made if n not in self._still or n in self._keep]
        made = made if self._runs_all else [n for n in made if n in self._runnable]
        return [n for n in made if self._last_use.get(n, -1) >= stop or n in self._keep]

    def _session(self, start: int, stop: int, wanted: Sequence[str]) -> tuple[Session, list[str]]:
        chosen = _needed(self._nodes[start:stop], set(wanted))
        made = {v.name for node in chosen for v in node.outputs}
        reads = {v.name: v for node in chosen for v in _reads(node) if v.name and v.name not in made}
        inputs = sorted(n for n in reads if n in self._names)
        still = {n: None for name in sorted(reads) for n in made_of_constants(reads[name]) if n not in chosen}
        reads |= {v.name: v for n in still for v in n.inputs if v is not None and v.name and v.producer() is None}
        samples = {n: self._store[0, n] for n in inputs}
        return Session(_submodel(self._model, [*still, *chosen], reads, samples, wanted), self._options), inputs


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


def made_of_constants(value: ir.Value) -> list[ir.Node]:
    """The nodes that make `value` from constants alone, in order; none where it depends on the samples or is one."""
    node = value.producer()
    if node is None or node.op_type not in _STILL or node.domain not in ("", "ai.onnx"):
        return []
    before: dict[ir.Node, None] = {}
    for source in node.inputs:
        if source is None or (is_constant(source) and source.producer() is None):
            continue
        more = made_of_constants(source)
        if not more:
            return []
        before |= dict.fromkeys(more)
    return [*before, node]


def _needed(nodes: Sequence[ir.Node], wanted: set[str]) -> list[ir.Node]:
    chosen: list[ir.Node] = []
    missing = set(wanted)
    for node in reversed(nodes):
        if any(v.name in missing for v in node.outputs):
            chosen.append(node)
            missing |= {v.name or "" for v in _reads(node)}
    return chosen[::-1]


def _submodel(
    model: ir.Model, nodes: Sequence[ir.Node], reads: Mapping[str, ir.Value], samples: Run, outputs: Sequence[str]
) -> ir.Model:
    """A model of its own that holds copies of `nodes`; its inputs have the type and rank of `samples`."""
    made = {v.name or "": v for node in nodes for v in node.outputs}
    constants = [v for n, v in reads.items() if n not in samples and v.is_initializer() and v.graph is model.graph]
    view = ir.GraphView(
        [reads[n] for n in samples],
        [made[n] for n in outputs],
        nodes=nodes,
        initializers=constants,
        opset_imports=dict(model.graph.opset_imports),
        name="piece",
    )
    body = view.clone()
    for value in body.inputs:
        sample = samples[value.name or ""]
        value.shape = ir.Shape([f"{value.name}_{axis}" for axis in range(sample.ndim)])
        value.type = ir.TensorType(ir.DataType.from_numpy(sample.dtype))
        value.const_value = None
    return ir.Model(body, ir_version=model.ir_version, functions=[f.clone() for f in model.functions.values()])
