"""Removal of nodes that hand their input on: Identity, and Dropout as it behaves at inference.

Two things would break a graph that looks valid, and are left: an Identity between an input or a value of an outer
scope and an output of its graph (the output would have no producer, or appear twice), and one whose input belongs
to another scope.
"""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import array_of, opset
from onnxcompress.passes.normalizing.constants import graphs

# Before opset 7 Dropout trains unless `is_test` says otherwise; from 12 on an input says whether it trains.
_DROPOUT_AT_INFERENCE = 7


def remove_identities(model: ir.Model) -> int:
    """Remove every node that hands its input on where that is safe; returns how many."""
    version = opset(model)
    return sum(_remove(node) for graph in graphs(model) for node in list(graph) if _hands_on(node, version))


def _hands_on(node: ir.Node, version: int) -> bool:
    if node.domain != "":
        return False
    return node.op_type == "Identity" or (node.op_type == "Dropout" and _is_inference(node, version))


def _is_inference(node: ir.Node, version: int) -> bool:
    mask_is_read = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if version < _DROPOUT_AT_INFERENCE or mask_is_read:
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else None
    settled = array_of(training)
    return training is None or (settled is not None and not settled.any())


def _remove(node: ir.Node) -> int:
    source, result, graph = node.inputs[0], node.outputs[0], node.graph
    if source is None or source.graph is not graph or not isinstance(graph, ir.Graph):
        return 0
    if result.is_graph_output():
        return _yield_directly(node, source, result, graph)
    _keep_type(source, result)
    result.replace_all_uses_with(source)
    graph.remove(node, safe=True)
    return 1


def _yield_directly(node: ir.Node, source: ir.Value, result: ir.Value, graph: ir.Graph) -> int:
    """Let the producer of `source` yield the output itself, under the output's name and declared type."""
    if source.producer() is None or source.is_graph_output() or graph.outputs.count(result) > 1:
        return 0
    graph.outputs[graph.outputs.index(result)] = source
    result.replace_all_uses_with(source)
    graph.remove(node, safe=True)
    source.name, result.name = result.name, None
    source.type, source.shape, source.doc_string = result.type, result.shape, result.doc_string
    source.metadata_props.clear()
    source.metadata_props.update(result.metadata_props)
    return 1


def _keep_type(source: ir.Value, result: ir.Value) -> None:
    """What was declared of the result holds for its source as well."""
    if source.type is None:
        source.type = result.type
    if source.shape is None and not source.is_graph_input():
        source.shape = result.shape
