"""Removal of nodes and initializers that no output depends on; graph inputs stay, used or not."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from onnxcompress.passes.normalizing.constants import graphs


def remove_dead(model: ir.Model) -> int:
    """Remove what nothing reads; returns how many nodes and initializers went."""
    before = _size(model)
    holders = [node for graph in graphs(model) for node in graph if _bodies(node)]
    # Clean on all of ONNX's backend node models, plain and with constant inputs; see tests/acceptance.
    common.RemoveUnusedNodesPass()(model)
    for node in holders:
        if node.graph is None:
            release_bodies(node)
    for graph in graphs(model):
        for value in [v for v in graph.initializers.values() if _is_unread(v)]:
            assert value.name is not None
            del graph.initializers[value.name]
    return before - _size(model)


def release_bodies(node: ir.Node) -> None:
    """Let the subgraphs of a node that was removed read nothing any more; they count as readers until then."""
    for body in _bodies(node):
        for inner in body:
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)


def _bodies(node: ir.Node) -> list[ir.Graph]:
    """The subgraphs that a node holds, and theirs."""
    held: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            held.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS and not attribute.is_ref():
            held.extend(attribute.as_graphs())
    return held + [nested for graph in held for nested in graph.subgraphs()]


def _is_unread(value: ir.Value) -> bool:
    return not (value.uses() or value.is_graph_output() or value.is_graph_input())


def _size(model: ir.Model) -> int:
    nodes = sum(len(function) for function in model.functions.values())
    return nodes + sum(len(graph) + len(graph.initializers) for graph in graphs(model))
