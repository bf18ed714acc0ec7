"""Constants in one form: an initializer under the name the value had."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.graph import constant_node_tensor

# Before IR 4 an initializer had to be a graph input as well, and so could be overridden: no plain constants there.
_FIRST_IR_WITH_CONSTANTS = 4


def graphs(model: ir.Model) -> list[ir.Graph]:
    """The main graph and its subgraphs, outermost first. Functions are left alone: they hold no initializers."""
    return [model.graph, *model.graph.subgraphs()]


def allows_constants(model: ir.Model) -> bool:
    """True where an initializer need not be a graph input."""
    return model.ir_version >= _FIRST_IR_WITH_CONSTANTS


def lift_constants(model: ir.Model) -> int:
    """Turn Constant nodes into initializers; returns how many.

    One that is a graph output itself stays, and so does a constant text or sparse tensor.
    """
    if not allows_constants(model):
        return 0
    return sum(_lift(node) for graph in graphs(model) for node in list(graph) if _is_constant_node(node))


def _is_constant_node(node: ir.Node) -> bool:
    return node.op_type == "Constant" and node.domain == "" and not node.outputs[0].is_graph_output()


def _lift(node: ir.Node) -> int:
    tensor = constant_node_tensor(node)
    if tensor is None or tensor.dtype.is_string() or not node.outputs[0].name:
        return 0
    replace_by_constants(node, [tensor])
    return 1


def replace_by_constants(node: ir.Node, tensors: list[ir.TensorProtocol]) -> None:
    """Replace `node` by initializers that carry its outputs' names, texts and metadata."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    new = [_initializer(old, tensor) for old, tensor in zip(node.outputs, tensors, strict=True)]
    for old, value in zip(node.outputs, new, strict=True):
        old.replace_all_uses_with(value)
    graph.remove(node, safe=True)
    for value in new:
        if value.name:
            graph.register_initializer(value)


def _initializer(old: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
    return ir.Value(
        name=old.name,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        doc_string=old.doc_string,
        # A shell of its own: it takes the value's name, and the original model may hold the tensor as well.
        const_value=ir.tensor(tensor.numpy(), dtype=tensor.dtype, name=old.name),
        metadata_props=dict(old.metadata_props),
    )
