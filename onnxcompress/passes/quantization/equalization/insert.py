"""A division by one number a channel where no node can take a scale: the last resort before a tensor stays float.

    read by multiplying nodes, made by something that cannot scale (HardSwish, a gate):  x -> Div -> x' -> Conv
    made by a multiplying node, read by something that cannot scale:                     Conv -> x' -> Div -> HardSwish

The division is exact by powers of two, its inverse goes into the weights on the other side, and x' is quantized as if
every channel had a range of its own. It costs one pass over the tensor in float; Div and not Mul, because runtimes
quantize products, and with them the tensor that must not be.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, fresh_name
from onnxcompress.passes.quantization.equalization.marks import Marks
from onnxcompress.passes.quantization.equalization.problem import linears


def insert(marks: Marks, wanted: Collection[str]) -> tuple[dict[str, str], set[str]]:
    """Put a division by ones beside each tensor of `wanted` that cannot be scaled.

    Returns:
        Names of the tensors that can be scaled now, by the wanted one; and the names of what the divisions yield.
    """
    heavy = {linear.node for linear in linears(marks.model)}
    values = [v for node in marks.model.graph for v in (*node.inputs, *node.outputs) if v is not None]
    found: dict[str, str] = {}
    divisions: set[str] = set()
    names = all_names(marks.model)
    for value in dict.fromkeys(values):
        if value.name in wanted and not marks.free(marks.ids.get(value, np.zeros(1, np.int64))):
            out = _beside(marks, value, heavy, names)
            if out is not None:
                scaled = value if value.producer() in heavy and not value.is_graph_output() else out
                found[value.name or ""] = scaled.name or ""
                divisions.add(out.name or "")
    return found, divisions


def _beside(marks: Marks, value: ir.Value, heavy: set[ir.Node], names: set[str]) -> ir.Value | None:
    """In front of what cannot be scaled where a multiplying node makes the tensor, else of those that read it."""
    uses = [(use.node, use.idx) for use in value.uses()]
    if any(node.graph is not marks.model.graph for node, _ in uses):
        return None
    reading = [(node, index) for node, index in uses if node in heavy and index == 0]
    if value.producer() in heavy and not value.is_graph_output():
        return _divided(marks, value, [use for use in uses if use not in reading], value.producer(), names)
    return _divided(marks, value, reading, reading[0][0] if reading else None, names)


def _divided(
    marks: Marks, value: ir.Value, uses: list[tuple[ir.Node, int]], partner: ir.Node | None, names: set[str]
) -> ir.Value | None:
    shape, dims = marks.shape(value), marks.table.dims(value.name)
    if shape is None or dims is None or len(shape) < 2 or not uses or partner is None:
        return None
    axis = 1 if partner.op_type in ("Conv", "ConvTranspose") else len(shape) - 1
    if not isinstance(dims[axis], int) or shape[axis] < 2:
        return None
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    kind = (marks.table.dtype(value.name) or ir.DataType.FLOAT).numpy()
    ones = add_initializer(marks.model.graph, fresh_name(names, f"{value.name}_ranges"), np.ones(sizes, kind))
    out = ir.Value(name=fresh_name(names, f"{value.name}_equalized"), type=value.type, shape=value.shape)
    node = ir.Node("", "Div", [value, ones], outputs=[out], name=fresh_name(names, f"{value.name}_Div"))
    maker = value.producer()
    if maker is None:
        marks.model.graph.insert_before(marks.model.graph[0], node)
    else:
        marks.model.graph.insert_after(maker, node)
    for user, index in uses:
        user.replace_input_with(index, out)
    return out


def take_back(graph: ir.Graph, names: Collection[str]) -> None:
    """Remove the divisions by ones among those that yield `names`."""
    for node in list(graph):
        if node.op_type != "Div" or node.outputs[0].name not in names or node.inputs[0] is None:
            continue
        by = node.inputs[1]
        if by is not None and by.const_value is not None and (by.const_value.numpy() == 1).all():
            node.outputs[0].replace_all_uses_with(node.inputs[0])
            graph.remove(node, safe=True)
            del graph.initializers[by.name or ""]
