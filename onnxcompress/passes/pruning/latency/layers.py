"""One layer as a model of its own, at any width: what ONNX Runtime takes for it is measured on that.

The node keeps its attributes and its activation, weights are drawn at random in the shape that a cut would give them,
and its inputs have the sizes of the probe less what is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import constant_tensor

FUSED = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")
"""Activations that ONNX Runtime runs inside the layer before them."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A model of one layer, and what it is fed with.

    Attributes:
        model: The model.
        feeds: Random inputs.
        key: Equal for layers that take equal time: operator, attributes, types and sizes.
    """

    model: ir.Model
    feeds: dict[str, np.ndarray]
    key: tuple[object, ...]


def layer_at(cut: Cut, node: ir.Node) -> Layer | None:
    """The layer `node` after `cut`; None where its sizes or types are not known.

    Args:
        cut: Which classes go; the traced model is not edited.
        node: A node of the traced model.
    """
    inputs: list[ir.Value | None] = []
    feeds: dict[str, np.ndarray] = {}
    sizes: list[object] = []
    for index, value in enumerate(node.inputs):
        if value is None:
            inputs.append(None)
            continue
        array = _random(cut, node, index, value)
        if array is None:
            return None
        fresh = _value(f"i{index}", array, constant=constant_tensor(value) is not None)
        inputs.append(fresh)
        sizes.append((array.shape, str(array.dtype)))
        if fresh.const_value is None:
            feeds[f"i{index}"] = array
    attributes = [_fitted(cut, node, each) for each in node.attributes.values()]
    output = ir.Value(name="o")
    lone = ir.Node("", node.op_type, inputs, attributes, outputs=[output], version=node.version)
    nodes, follower = [lone], _activation(node)
    if follower is not None:
        output = ir.Value(name="a")
        nodes.append(ir.Node("", "Relu", [lone.outputs[0]], outputs=[output]))
    key = (node.op_type, tuple(str(each) for each in attributes), tuple(sizes), follower is not None)
    return Layer(_model(cut, nodes, inputs, output), feeds, key)


def _random(cut: Cut, node: ir.Node, index: int, value: ir.Value) -> np.ndarray | None:
    kind = cut.found.table.dtype(value.name) or value.dtype
    tensor = constant_tensor(value)
    kind = tensor.dtype if tensor is not None else kind
    whole = cut.found.shape(value)
    if kind is None or whole is None or not kind.is_floating_point():
        return None
    shape = list(whole)
    for axis, (_, after) in cut.input_sizes(node, index).items():
        shape[axis] = after
    use = cut.found.use_of(node, index)
    if use is not None and use.value is value:
        for axis, ids in use.blocks.items():
            shape[axis] = max(1, int(cut.keep(ids).sum()) * whole[axis] // len(ids))
    generator = np.random.Generator(np.random.PCG64(index))
    return (generator.standard_normal(shape) * 0.1).astype(kind.numpy())


def _fitted(cut: Cut, node: ir.Node, given: ir.Attr) -> ir.Attr:
    """Attributes that name a count follow the cut: groups of a depthwise convolution, hidden units."""
    if given.name == "group" and int(given.value) > 1:
        data = node.inputs[0]
        whole = cut.found.shape(data) if data is not None else None
        changed = cut.input_sizes(node, 0).get(1)
        if whole is not None and changed is not None and int(given.value) == whole[1]:
            return ir.AttrInt64("group", changed[1])
    if given.name == "hidden_size":
        for index, output in enumerate(node.outputs):
            changed = cut.sizes(output).get(3 if index == 0 else 2)
            if changed is not None:
                return ir.AttrInt64("hidden_size", changed[1])
    return given


def _activation(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    alone = len(uses) == 1 and node.op_type == "Conv" and not attribute(node, "activation")
    return uses[0].node if alone and uses[0].node.op_type in FUSED else None


def _value(name: str, array: np.ndarray, *, constant: bool) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor if constant else None,
    )


def _model(cut: Cut, nodes: list[ir.Node], inputs: list[ir.Value | None], output: ir.Value) -> ir.Model:
    given = [value for value in inputs if value is not None]
    fed = [value for value in given if value.const_value is None]
    kept = [value for value in given if value.const_value is not None]
    output.type = (fed or kept)[0].type
    imports = {"": cut.found.model.graph.opset_imports.get("", 17)}
    graph = ir.Graph(fed, [output], nodes=nodes, initializers=kept, opset_imports=imports, name="layer")
    return ir.Model(graph, ir_version=cut.found.model.ir_version)
