"""Removal of nodes and initializers that no output depends on; graph inputs stay, used or not."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from onnxcompress.passes.normalizing.constants import graphs


def remove_dead(model: ir.Model) -> int:
    """Remove what nothing reads; returns how many nodes and initializers went."""
    before = _size(model)
    # Clean on all of ONNX's backend node models, plain and with constant inputs; see tests/acceptance.
    common.RemoveUnusedNodesPass()(model)
    for graph in graphs(model):
        for value in [v for v in graph.initializers.values() if _is_unread(v)]:
            assert value.name is not None
            del graph.initializers[value.name]
    return before - _size(model)


def _is_unread(value: ir.Value) -> bool:
    return not (value.uses() or value.is_graph_output() or value.is_graph_input())


def _size(model: ir.Model) -> int:
    nodes = sum(len(function) for function in model.functions.values())
    return nodes + sum(len(graph) + len(graph.initializers) for graph in graphs(model))
