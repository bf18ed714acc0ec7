"""What integers an input may hold, read from the nodes that consume it.

Token ids index a table: walking from the input through ops that keep values to a Gather gives the table's size. A
sample rate is compared with a constant: that constant is the value to feed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import array_of, attribute, tensor_of

_SAME_VALUES = frozenset(
    [
        "Cast",
        "Reshape",
        "Unsqueeze",
        "Squeeze",
        "Transpose",
        "Identity",
        "Flatten",
        "Expand",
        "Slice",
        "Concat",
        "Split",
        "Tile",
        "Clip",
        "Max",
        "Min",
        "Where",
        "Gather",
        "GatherElements",
        "GatherND",
        "CastLike",
    ]
)
_COMPARES = frozenset(["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
_TABLE_INPUT = {"Gather": (0, 1), "GatherElements": (0, 1), "GatherND": (0, 1), "ScatterElements": (0, 1)}

Given = dict[ir.Value, ir.Value | None]
"""What the calls on the way give for the inputs of functions."""


@dataclass(frozen=True)
class IntegerUse:
    """How an integer input is used.

    Attributes:
        size: Smallest table that it indexes: values lie in ``[0, size)``; None where it indexes none.
        compared: Constants that it is compared with, in graph order.
        shapes: True where it becomes a size or a shape.
    """

    size: int | None = None
    compared: tuple[int, ...] = ()
    shapes: bool = False


def integer_use(model: ir.Model, value: ir.Value) -> IntegerUse:
    """Follow an integer input to its consumers, into the bodies of functions too."""
    sizes: list[int] = []
    compared: list[int] = []
    shapes = False
    for node, index, shift, given in _consumers(model, value):
        size = _table_size(node, index, given)
        if size is not None:
            sizes.append(max(1, size - shift))
        compared += _compared_with(node, index)
        shapes |= (node.op_type, index) in {("Reshape", 1), ("Expand", 1), ("ConstantOfShape", 0), ("Range", 1)}
    return IntegerUse(min(sizes, default=None), tuple(compared), shapes)


def _consumers(model: ir.Model, value: ir.Value) -> Iterator[tuple[ir.Node, int, int, Given]]:
    """Each (node, input index, constant added on the way, arguments of the calls) that sees the input's values."""
    waiting: list[tuple[ir.Value, int]] = [(value, 0)]
    seen: set[int] = set()
    given: Given = {}
    while waiting:
        current, shift = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        for node, index in current.uses():
            yield node, index, shift, given
            function = model.functions.get(node.op_identifier())
            if function is not None and index < len(function.inputs):
                given.update(zip(function.inputs, node.inputs, strict=False))
                waiting.append((function.inputs[index], shift))
            elif _passes_on(node, index):
                waiting += [(output, shift + _added(node, index)) for output in node.outputs]


def _passes_on(node: ir.Node, index: int) -> bool:
    if node.op_type == "Add":
        return array_of(node.inputs[1 - index]) is not None
    if node.op_type in _TABLE_INPUT and index == 1:
        return False
    return node.op_type in _SAME_VALUES and (index == 0 or node.op_type in ("Concat", "Where", "Max", "Min"))


def _added(node: ir.Node, index: int) -> int:
    if node.op_type != "Add":
        return 0
    array = array_of(node.inputs[1 - index])
    return int(np.max(array)) if array is not None and array.size else 0


def _table_size(node: ir.Node, index: int, given: Given) -> int | None:
    if node.op_type in _TABLE_INPUT and index == _TABLE_INPUT[node.op_type][1]:
        axis = 0 if node.op_type == "GatherND" else int(attribute(node, "axis", 0))
        return _dim(node.inputs[0], axis, given)
    if node.op_type == "OneHot" and index == 0:
        depth = array_of(node.inputs[1])
        return None if depth is None else int(depth.reshape(-1)[0])
    if node.op_type == "EmbedLayerNormalization" and index in (0, 1):
        return _dim(node.inputs[2 if index == 0 else 4], 0, given)
    if node.op_type == "GatherBlockQuantized" and index == 1:
        return _dim(node.inputs[0], int(attribute(node, "gather_axis", 0)), given)
    return None


def _dim(value: ir.Value | None, axis: int, given: Given) -> int | None:
    """A fixed size of a table, whether it is constant or computed; in a function's body, of the call's argument."""
    value = given.get(value, value) if value is not None else None
    if value is None:
        return None
    tensor = tensor_of(value)
    shape = tensor.shape if tensor is not None else value.shape
    if shape is None or not -len(shape) <= axis < len(shape):
        return _table_behind(value, axis, given)
    size = shape[axis]
    return size if isinstance(size, int) else None


def _table_behind(value: ir.Value, axis: int, given: Given) -> int | None:
    """The size of a table that reaches the Gather through DequantizeLinear, Cast or Identity."""
    node = value.producer()
    if node is None or node.op_type not in ("DequantizeLinear", "Cast", "Identity"):
        return None
    return _dim(node.inputs[0], axis, given)


def _compared_with(node: ir.Node, index: int) -> list[int]:
    if node.op_type not in _COMPARES:
        return []
    array = array_of(node.inputs[1 - index])
    return [] if array is None or array.size != 1 else [int(array.reshape(-1)[0])]
