"""ONNX Runtime's MatMulNBits in place of MatMul by int4 in blocks.

B[n, block] holds two numbers a byte, the earlier one in the low half, q + 8 each, so that 8 stands for zero.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, array_of, attribute, fresh_name, label, tensor_of
from onnxcompress.passes.quantization.edit import drop_unused

_LEAST_BLOCK = 16
_MICROSOFT = "com.microsoft"


def write_products_of_bits(model: ir.Model, chosen: Collection[str]) -> None:
    """Replace the MatMul nodes of `chosen` (labels) that read int4 weights in blocks along the summed axis."""
    taken = all_names(model)
    for node in [n for n in model.graph if n.op_type == "DequantizeLinear"]:
        if _fits(node) and all(label(use.node) in chosen for use in node.outputs[0].uses()):
            _replace(model.graph, taken, node)
    drop_unused(model)


def packed(numbers: np.ndarray, block: int) -> np.ndarray:
    """int4 [K, N] as MatMulNBits wants them: uint8 [N, blocks, block / 2]; what is missing in the last block is 0."""
    depth, width = numbers.shape
    filled = np.zeros((width, depth + -depth % block), np.uint8)
    filled[:, :depth] = numbers.T.astype(np.int8)
    nibbles = (filled + np.uint8(8)) & np.uint8(15)
    pairs = nibbles.reshape(width, -1, block // 2, 2)
    return pairs[..., 0] | (pairs[..., 1] << np.uint8(4))


def _fits(node: ir.Node) -> bool:
    """int4 without zero points, in blocks that are powers of two, read as the right factor of MatMul alone."""
    tensor, block = tensor_of(node.inputs[0]), int(attribute(node, "block_size", 0))
    if tensor is None or tensor.dtype != ir.DataType.INT4 or len(node.inputs) > 2 or len(tensor.shape) != 2:
        return False
    if block < _LEAST_BLOCK or block & (block - 1) or attribute(node, "axis", 1) != 0:
        return False
    out = node.outputs[0]
    return not out.is_graph_output() and all(u.node.op_type == "MatMul" and u.idx == 1 for u in out.uses())


def _replace(graph: ir.Graph, taken: set[str], node: ir.Node) -> None:
    source, numbers, scales = node.inputs[0], array_of(node.inputs[0]), array_of(node.inputs[1])
    assert source is not None
    assert numbers is not None
    assert scales is not None
    (depth, width), block = numbers.shape, int(attribute(node, "block_size", 0))
    name = (source.name or "").removesuffix("_quantized")
    weights = add_initializer(graph, fresh_name(taken, f"{name}_packed"), packed(numbers, block))
    steps = add_initializer(graph, fresh_name(taken, f"{name}_steps"), np.ascontiguousarray(scales.T))
    graph.opset_imports.setdefault(_MICROSOFT, 1)
    sizes = {"K": depth, "N": width, "bits": 4, "block_size": block}
    for use in list(node.outputs[0].uses()):
        attributes = [ir.AttrInt64(k, v) for k, v in sizes.items()]
        inputs = [use.node.inputs[0], weights, steps]
        _take_place(graph, use.node, ir.Node(_MICROSOFT, "MatMulNBits", inputs, attributes, outputs=[ir.Value()]))
    graph.remove(node, safe=True)


def _take_place(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put `new` where `old` stands, under its names."""
    before, after = old.outputs[0], new.outputs[0]
    after.shape, after.type, new.name = before.shape, before.type, old.name
    graph.insert_before(old, new)
    for reader, index in [(use.node, use.idx) for use in before.uses()]:
        reader.replace_input_with(index, after)
    for i, output in enumerate(graph.outputs):
        if output is before:
            graph.outputs[i] = after
    name = before.name
    graph.remove(old, safe=True)
    after.name = name
    after.metadata_props.update(before.metadata_props)
