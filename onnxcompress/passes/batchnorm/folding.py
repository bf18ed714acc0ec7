"""Find each normalization's neighbour, and fold."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import all_names, opset, scopes
from onnxcompress.passes.batchnorm.affine import Affine, LeftAlone, affine_of
from onnxcompress.passes.batchnorm.backward import FOLDS, fold_into_producer
from onnxcompress.passes.batchnorm.forward import fold_into_consumer
from onnxcompress.report import Finding


def fold_all(model: ir.Model) -> list[Finding]:
    """Fold every BatchNormalization of `model` that can be, in topological order.

    Returns:
        One finding a normalization: folded, or why not.
    """
    names = all_names(model)
    found = [(scope, node) for scope in scopes(model) for node in list(scope) if _is_batchnorm(node)]
    return [_finding(scope, node, opset(model), names) for scope, node in found]


def _is_batchnorm(node: ir.Node) -> bool:
    return node.op_type == "BatchNormalization" and node.domain == ""


def _finding(scope: ir.Graph | ir.Function, node: ir.Node, version: int, names: set[str]) -> Finding:
    place = node.name or node.outputs[0].name or ""
    try:
        partner = _fold(node, _graph(scope), affine_of(node, version), names)
    except LeftAlone as reason:
        return Finding(reason.code, f"left alone: {reason.message}", node=place)
    return Finding("FOLD-DONE", f"folded into {partner}", node=place)


def _graph(scope: ir.Graph | ir.Function) -> ir.Graph:
    if not isinstance(scope, ir.Graph):
        raise LeftAlone("FOLD-IN-FUNCTION", "a function's body holds no weights to fold into")
    return scope


def _fold(node: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> str:
    source = node.inputs[0]
    producer = None if source is None else source.producer()
    if producer is None or producer.op_type not in FOLDS or producer.domain != "" or producer.graph is not graph:
        partner = fold_into_consumer(node, graph, affine, names)
    else:
        partner = _fold_either_way(node, producer, graph, affine, names)
    _drop_parameters(graph, node)
    return partner


def _fold_either_way(node: ir.Node, producer: ir.Node, graph: ir.Graph, affine: Affine, names: set[str]) -> str:
    """Into the producer; where that is not possible into the Conv behind, and the reason of the first stands."""
    try:
        return fold_into_producer(node, producer, graph, affine, names)
    except LeftAlone as reason:
        try:
            return fold_into_consumer(node, graph, affine, names)
        except LeftAlone:
            raise reason from None


def _drop_parameters(graph: ir.Graph, node: ir.Node) -> None:
    """Remove the normalization, and those of its parameters that nothing else reads."""
    parameters = [v for v in node.inputs[1:] if v is not None]
    graph.remove(node, safe=True)
    for value in dict.fromkeys(parameters):
        unread = not (value.uses() or value.is_graph_output() or value.is_graph_input())
        if unread and value.is_initializer() and value.graph is not None and value.name:
            del value.graph.initializers[value.name]
