"""Residual branches: the operand of an Add that could go, because the other operand carries what it started from.

For y = a + b let N(b) be the nodes that only b needs, and border(b) the tensors that N(b) reads from outside. b is a
branch where it reads what the shortcut is (a in border(b): identity shortcut), or reads what the shortcut reads
(border(a) meets border(b): a projection, or blocks side by side) and costs more than the shortcut. Nothing else about
the graph is assumed: no names, no op patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxcompress.graph import is_constant, label
from onnxcompress.shapes import ShapeTable


@dataclass(frozen=True, eq=False)
class Branch:
    """One operand of an Add that may go.

    Attributes:
        adder: The Add.
        index: Which operand goes, 0 or 1.
        nodes: The nodes that go with it, in topological order.
        macs: Their multiply-accumulates for one sample.
    """

    adder: ir.Node
    index: int
    nodes: tuple[ir.Node, ...]
    macs: int

    @property
    def name(self) -> str:
        """The Add's label."""
        return label(self.adder)

    @property
    def value(self) -> ir.Value:
        """The tensor that the branch makes."""
        return _operand(self.adder, self.index)

    @property
    def shortcut(self) -> ir.Value:
        """The tensor that stays."""
        return _operand(self.adder, 1 - self.index)

    @property
    def output(self) -> ir.Value:
        """The sum."""
        return self.adder.outputs[0]

    @property
    def channel_axis(self) -> int:
        """Axis of the channels: 1 after a convolution, the last one otherwise."""
        node = self.value.producer()
        while node is not None and node in self.nodes and node.op_type not in _LINEAR:
            source = next((v for v in node.inputs if v is not None and not is_constant(v)), None)
            node = None if source is None else source.producer()
        return 1 if node is not None and node.op_type in ("Conv", "ConvTranspose") else -1

    @property
    def signature(self) -> tuple[str, ...]:
        """Op types of its nodes; blocks of one architecture repeat them."""
        return tuple(node.op_type for node in self.nodes)


_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN")


def branches(model: ir.Model, table: ShapeTable, macs: Mapping[str, int]) -> list[Branch]:
    """All residual branches of the main graph that hold a node with weights to compute, in topological order.

    Args:
        model: Not edited.
        table: Its shapes; both operands of the Add must have equal ones.
        macs: Multiply-accumulates by node label.
    """
    walker = _Cones(model, macs)
    found: list[Branch] = []
    for node in model.graph:
        if node.op_type == "Add" and node.domain in ("", "ai.onnx") and _equal_shapes(node, table):
            found.extend(walker.branches(node))
    return found


def _operand(adder: ir.Node, index: int) -> ir.Value:
    value = adder.inputs[index]
    assert value is not None, "an Add has two operands"
    return value


def _equal_shapes(node: ir.Node, table: ShapeTable) -> bool:
    names = [_operand(node, 0).name, _operand(node, 1).name, node.outputs[0].name]
    sizes, dims = {table.probe(name) for name in names}, {table.dims(name) for name in names}
    known = [value.producer() is not None or value.is_graph_input() for value in node.inputs if value is not None]
    return len(sizes) == 1 and None not in sizes and len(dims) == 1 and all(known)


class _Cones:
    """The nodes that only one operand needs, for any Add of one model."""

    def __init__(self, model: ir.Model, macs: Mapping[str, int]) -> None:
        self._macs = macs
        self._order = {node: at for at, node in enumerate(model.graph)}
        self._owner: dict[ir.Node, ir.Node] = {}
        for node in model.graph:
            for inner in _inside(node):
                self._owner[inner] = node

    def branches(self, adder: ir.Node) -> Iterator[Branch]:
        """None, one or (for blocks side by side) the costlier operand of `adder`."""
        cones = [self._cone(adder, index) for index in (0, 1)]
        borders = [_border(cone) for cone in cones]
        costs = [sum(self._macs.get(label(node), 0) for node in cone) for cone in cones]
        for index in (0, 1):
            other = 1 - index
            whole = _operand(adder, other) in borders[index]
            beside = bool(borders[index] & borders[other]) and (costs[index], index) > (costs[other], other)
            if costs[index] and (whole or beside):
                nodes = tuple(sorted(cones[index], key=self._order.__getitem__))
                yield Branch(adder, index, nodes, costs[index])

    def _cone(self, adder: ir.Node, index: int) -> set[ir.Node]:
        start = _operand(adder, index).producer()
        cone: set[ir.Node] = set()
        todo = [start] if start is not None else []
        while todo:
            node = todo.pop()
            if node in cone or node not in self._order or not self._only_for(node, cone, adder, index):
                continue
            cone.add(node)
            todo.extend(p for value in reads(node) if (p := value.producer()) is not None)
        return cone

    def _only_for(self, node: ir.Node, cone: set[ir.Node], adder: ir.Node, index: int) -> bool:
        """Whether every reader of the node's outputs goes as well."""
        for value in node.outputs:
            if value.is_graph_output():
                return False
            for reader, at in value.uses():
                if self._owner.get(reader, reader) not in cone and (reader, at) != (adder, index):
                    return False
        return True


def _border(cone: set[ir.Node]) -> set[ir.Value]:
    read = {value for node in cone for value in reads(node) if not is_constant(value)}
    return {value for value in read if value.producer() not in cone}


def reads(node: ir.Node) -> list[ir.Value]:
    """What a node reads, the captures of its bodies among them."""
    inner = list(_inside(node))
    own = set(inner)
    values = [value for each in (node, *inner) for value in each.inputs if value is not None]
    return [value for value in values if value.producer() not in own]


def _inside(node: ir.Node) -> Iterator[ir.Node]:
    for attribute in node.attributes.values():
        graphs: Sequence[ir.Graph] = ()
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            graphs = [attribute.as_graph()]
        elif attribute.type == ir.AttributeType.GRAPHS and not attribute.is_ref():
            graphs = list(attribute.as_graphs())
        for graph in graphs:
            yield from graph.all_nodes()
