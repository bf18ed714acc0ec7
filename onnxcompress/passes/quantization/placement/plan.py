"""What a placement decides: the nodes that run on integers, the tensors with a Q/DQ pair, and who reads each pair."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, is_constant
from onnxcompress.passes.quantization.linear import FLOATS, Linear
from onnxcompress.shapes import ShapeTable
from onnxcompress.targets import Target

Use = tuple[ir.Node, int]

Reason = tuple[str, str]
"""Why a node stays float: a stable code and a sentence."""


@dataclass
class Pair:
    """A Q/DQ pair on one tensor.

    Attributes:
        value: The tensor.
        readers: Inputs that read the dequantized tensor; used where `sealed` is False.
        sealed: Every reader takes the dequantized tensor, graph output included, so that its producer can write
            integers.
    """

    value: ir.Value
    readers: list[Use] = field(default_factory=list)
    sealed: bool = False


@dataclass
class Plan:
    """Where Q/DQ pairs go.

    Attributes:
        linear: Multiplying nodes that run on integers.
        passing: Other nodes that run on integers between them.
        pairs: By tensor name.
        constants: Constant inputs of `passing` nodes that become integers.
        kinds: Type and symmetry of those activations that differ from the target's, by tensor name.
        roots: Tensors with one scale, by tensor name: the tensor whose range they take.
        left: Multiplying nodes that stay float: reason code and sentence.
    """

    linear: list[Linear] = field(default_factory=list)
    passing: list[ir.Node] = field(default_factory=list)
    pairs: dict[str, Pair] = field(default_factory=dict)
    constants: list[Use] = field(default_factory=list)
    kinds: dict[str, tuple[str, bool]] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    left: dict[ir.Node, Reason] = field(default_factory=dict)

    def root(self, name: str) -> str:
        """The tensor whose scale `name` takes."""
        while self.roots.get(name, name) != name:
            name = self.roots[name]
        return name

    def share(self, name: str, other: str) -> None:
        """Let both tensors have one scale; the root of `other` leads."""
        first, second = self.root(name), self.root(other)
        if first != second:
            self.roots[first] = second

    def members(self) -> dict[str, list[str]]:
        """Tensors with a pair by the tensor whose scale they take, in the order of the graph."""
        found: dict[str, list[str]] = {}
        for name in self.pairs:
            found.setdefault(self.root(name), []).append(name)
        return found

    def pair(self, value: ir.Value) -> Pair:
        """The pair on `value`, made where there is none."""
        return self.pairs.setdefault(value.name or "", Pair(value))


@dataclass(frozen=True)
class Request:
    """What a placement is asked.

    Attributes:
        graph: The main graph.
        target: The rules.
        table: Shapes and types.
        chosen: Names of nodes that may be touched.
        islands: Tensors that stay float.
        live: Tensors that can be calibrated; those behind a plugin node cannot.
        macs: Multiplications by node name, for weighing islands.
    """

    graph: ir.Graph
    target: Target
    table: ShapeTable
    chosen: Collection[str]
    islands: Collection[str] = ()
    live: Collection[str] | None = None
    macs: Mapping[str, int] = field(default_factory=dict[str, int])

    def holds(self, value: ir.Value) -> bool:
        """Whether a tensor may carry a pair: a float, not constant, that can be calibrated and is no island."""
        name = value.name or ""
        if name in self.islands or is_constant(value) or (self.live is not None and name not in self.live):
            return False
        return (self.table.dtype(name) or value.dtype) in FLOATS

    def variable_inputs(self, node: ir.Node) -> list[tuple[int, ir.Value]]:
        """Inputs of a node that are not constant, with their indices."""
        return [(i, v) for i, v in enumerate(node.inputs) if v is not None and not is_constant(v)]

    def dims(self, value: ir.Value) -> tuple[Any, ...]:
        """The tensor's sizes as far as they are known; empty where not even their number is."""
        return tuple(self.table.dims(value.name) or value.shape or ())


def nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Nodes of the main graph in the order they run."""
    yield from graph


def tail(node: ir.Node, absorbed: Collection[str]) -> ir.Value:
    """What a node yields after the activation that vanishes into it."""
    out = node.outputs[0]
    uses = list(out.uses())
    if out.is_graph_output() or len(uses) != 1:
        return out
    following, index = uses[0]
    if following.graph is not node.graph or index or following.op_type not in absorbed or not _fits(following):
        return out
    return following.outputs[0]


def _fits(node: ir.Node) -> bool:
    """A Clip vanishes into an unsigned grid only where it cuts at zero."""
    if node.op_type != "Clip":
        return True
    low = array_of(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "min")
    return low is not None and not np.any(low)
