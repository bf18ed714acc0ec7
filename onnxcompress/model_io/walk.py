"""Every graph, attribute and tensor of a raw model, each with a place that a message can name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Place:
    """A graph or function body with its place in the model.

    Attributes:
        body: The proto; a FunctionProto has no initializers.
        where: Empty for the main graph, else e.g. ``graph body of node /loop``.
    """

    body: onnx.GraphProto | onnx.FunctionProto
    where: str

    def of(self, thing: str) -> str:
        """The place of `thing` inside this graph."""
        return f"{thing} in {self.where}" if self.where else thing


def places(proto: onnx.ModelProto) -> Iterator[Place]:
    """The main graph, all functions, and all their subgraphs, outer ones first."""
    yield from _with_subgraphs(Place(proto.graph, ""))
    for function in proto.functions:
        yield from _with_subgraphs(Place(function, f"function {function.domain}::{function.name}"))


def _with_subgraphs(root: Place) -> Iterator[Place]:
    stack = [root]
    while stack:
        place = stack.pop()
        yield place
        for node, attribute in attributes(place.body):
            graphs = [attribute.g] if attribute.HasField("g") else attribute.graphs
            stack += [Place(graph, f"graph {attribute.name} of node {node_name(node)}") for graph in graphs]


def attributes(
    body: onnx.GraphProto | onnx.FunctionProto,
) -> Iterator[tuple[onnx.NodeProto, onnx.AttributeProto]]:
    """Each attribute of each node of one body, without its subgraphs."""
    for node in body.node:
        for attribute in node.attribute:
            yield node, attribute


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or else its type and first output."""
    return node.name or f"{node.op_type} ({next(iter(node.output), 'no output')})"


def tensors(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    """Every dense tensor: initializers, tensor attributes and defaults of function attributes."""
    for place in places(proto):
        for tensor in getattr(place.body, "initializer", ()):
            yield tensor, place.of(f"initializer {tensor.name}")
        for node, attribute in attributes(place.body):
            for tensor in _tensors_of(attribute):
                yield tensor, place.of(f"attribute {attribute.name} of node {node_name(node)}")
    for function in proto.functions:
        for attribute in function.attribute_proto:
            for tensor in _tensors_of(attribute):
                yield tensor, f"default of {attribute.name} in function {function.domain}::{function.name}"


def _tensors_of(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def types(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TypeProto, str]]:
    """Every type that is written down: inputs, outputs, value_info and type attributes."""
    for place in places(proto):
        body = place.body
        for field in ("input", "output", "value_info"):
            if field == "value_info" or hasattr(body, "initializer"):
                for info in getattr(body, field):
                    yield info.type, place.of(f"{field} {info.name}")
        for node, attribute in attributes(body):
            for found in [attribute.tp, *attribute.type_protos] if attribute.HasField("tp") else attribute.type_protos:
                yield found, place.of(f"attribute {attribute.name} of node {node_name(node)}")
