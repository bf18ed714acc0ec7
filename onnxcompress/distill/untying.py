"""Constants that an exporter merged are taken apart, so that layers that have nothing in common learn apart.

Exporters store constants of equal numbers once: all-zero biases, unit gammas, the zeros that pruning leaves. Trained as
one, unrelated layers would be tied. What is tied on purpose (an embedding that is the last layer too, a layer that is
applied several times) must stay tied. The file does not say which is which, the numbers do:

* A constant whose numbers are all equal, and that several layers read, counts as merged. Learned numbers do not agree
  by accident, so any other constant with several readers stays tied. They do agree where layers get one gradient from
  the start, as the biases of two branches that are added; there only the sum counts, and tying takes nothing away.
* Readers are one layer where they share their other weights: a convolution applied at five sizes keeps one bias.
* What an embedding looks up stays tied, whatever its numbers.
* Readers that are no weights of a layer (a pad value, a first state) keep the numbers as they are.
* Where the way to two layers parts only behind an op that changes the constant, they stay tied.

All this happens in the working copy. When trained numbers are written back, a layer gets an initializer of its own only
if they differ from those of the constant that it shared.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.origins import MOVES, stored
from onnxcompress.distill.weights import Places, parameter_places
from onnxcompress.distill.working_copy import home, home_node
from onnxcompress.report import Finding

Edge = tuple[ir.Node, int]
_REST = "no weight"


@dataclass(frozen=True, eq=False)
class Twin:
    """One layer's own copy of a merged constant, in the working copy.

    Attributes:
        value: The copy.
        source: The constant that was merged, in the model itself.
        edges: The inputs of nodes of the model itself that would read it.
    """

    value: ir.Value
    source: ir.Value
    edges: tuple[Edge, ...]


@dataclass
class Untied:
    """What was taken apart.

    Attributes:
        twins: By their values in the working copy.
        findings: One a merged constant.
    """

    twins: dict[ir.Value, Twin] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def untie(copy: ir.Model) -> Untied:
    """Take the merged constants of a working copy apart."""
    untied, places, taken = Untied(), parameter_places(copy), graph.all_names(copy)
    layers = _Layers(places)
    for value in places:
        source = home(value)
        if source is None or not value.is_initializer() or value.graph is not copy.graph or not layers.is_merged(value):
            continue
        groups = _groups(value, layers)
        parts = _keepers(value, groups) if groups else []
        name = value.name or ""
        twins = [_twin(copy, value, source, part, graph.fresh_name(taken, name)) for part in parts[1:]]
        untied.twins |= {twin.value: twin for twin in twins}
        if twins:
            count = len(groups)
            message = f"{count} layers shared this constant, whose numbers are all equal; each learns its own"
            untied.findings.append(Finding("DISTILL-UNTIED", message, name, numbers={"layers": count}))
    return untied


class _Layers:
    """Which layer reads a weight."""

    def __init__(self, places: Places) -> None:
        self._readers = {value: {node for _, node in found} for value, found in places.items()}
        self._several = {value for value, found in places.items() if len(found) > 1 or len(value.uses()) > 1}
        self._weights: dict[ir.Node, list[ir.Value]] = {}
        for value, found in places.items():
            for _, node in found:
                self._weights.setdefault(node, []).append(value)

    def is_merged(self, value: ir.Value) -> bool:
        """True for equal numbers that several nodes read, none of them as what it looks up."""
        if value not in self._several or any(node.op_type == "Gather" for node in self._readers[value]):
            return False
        return _is_uniform(value)

    def keys(self, value: ir.Value, edge: Edge) -> set[Hashable]:
        """The layers, and inputs of layers, behind one edge of the graph."""
        node, index = edge
        if node.op_type in MOVES and index == 0:
            edges = [(use.node, use.idx) for out in node.outputs for use in out.uses()]
            found = {key for behind in edges for key in self.keys(value, behind)}
            return found | ({_REST} if any(out.is_graph_output() for out in node.outputs) else set())
        if node not in self._readers[value] or home_node(node) is None:
            return {_REST}
        return {(self._layer(node, value), index)}

    def _layer(self, node: ir.Node, value: ir.Value) -> Hashable:
        """The other weights of a node, or of the node whose result it shifts or scales; the node without any."""
        nodes = [node]
        if node.op_type in ("Add", "Sub", "Mul"):
            nodes += [made for v in node.inputs if v is not None and (made := v.producer()) is not None]
        own = [w for n in nodes for w in self._weights.get(n, ()) if w is not value and not _is_uniform(w)]
        return tuple(own) or node


def _groups(value: ir.Value, layers: _Layers) -> dict[Hashable, list[Edge]]:
    """The edges to each layer; none where layers cannot be told apart."""
    groups: dict[Hashable, list[Edge]] = {_REST: []}
    todo: list[Edge] = [(use.node, use.idx) for use in value.uses()]
    while todo:
        edge = todo.pop(0)
        keys = layers.keys(value, edge)
        if len(keys) > 1 and edge[0].op_type == "Identity" and not edge[0].outputs[0].is_graph_output():
            todo = [*((use.node, use.idx) for use in edge[0].outputs[0].uses()), *todo]
            continue
        if len(keys) != 1 or (home_node(edge[0]) is None and keys != {_REST}):
            return {}
        groups.setdefault(next(iter(keys)), []).append(edge)
    return groups


def _keepers(value: ir.Value, groups: dict[Hashable, list[Edge]]) -> list[list[Edge]]:
    """The groups of edges, first the one that keeps the constant: what is no weight, or the first layer."""
    rest = groups.pop(_REST)
    return [rest, *groups.values()] if rest or value.is_graph_output() else list(groups.values())


def _twin(copy: ir.Model, value: ir.Value, source: ir.Value, edges: list[Edge], name: str) -> Twin:
    tensor = stored(value)
    assert tensor is not None
    made = graph.add_initializer(copy.graph, name, tensor)
    homes = [(home_node(node), index) for node, index in edges]
    for node, index in edges:
        node.replace_input_with(index, made)
    return Twin(made, source, tuple((node, index) for node, index in homes if node is not None))


def _is_uniform(value: ir.Value) -> bool:
    tensor = stored(value)
    if tensor is None or tensor.size < 2:
        return False
    numbers = np.asarray(tensor.numpy())
    return bool((numbers == numbers.flat[0]).all())
