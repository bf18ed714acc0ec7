"""Constants and small nodes that a cut puts into the model: sizes, bounds, entries of vectors."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, fresh_name, set_constant
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.trace import array, constant_tensor


def scaled(
    cut: Cut, at: ir.Node, value: ir.Value | None, factor: np.ndarray, divisor: np.ndarray, *, after: bool = False
) -> ir.Value:
    """Value * factor / divisor, computed before (or after) the node `at`, so that free sizes stay free."""
    name = (value.name if value is not None else "") or "size"
    times = inserted(cut, at, "Mul", [value, cut.initializer(f"{name}_kept", factor)], f"{name}_times", after=after)
    made = times.producer()
    assert made is not None
    whole = cut.initializer(f"{name}_whole", divisor)
    return inserted(cut, made if after else at, "Div", [times, whole], f"{name}_cut", after=after)


def inserted(
    cut: Cut, at: ir.Node, op: str, inputs: list[ir.Value | None], name: str, *, after: bool = False
) -> ir.Value:
    """The result of a new node of integers before or after the node `at`."""
    output = ir.Value(name=fresh_name(cut.names, name), type=ir.TensorType(ir.DataType.INT64))
    node = ir.Node("", op, inputs, name=fresh_name(cut.names, f"{name}_node"), outputs=[output])
    assert at.graph is not None
    if after:
        at.graph.insert_after(at, node)
    else:
        at.graph.insert_before(at, node)
    return output


def hand_out(old: ir.Value, new: ir.Value) -> None:
    """Let `new` take the name of `old`, and its place among the outputs of its graph."""
    outputs = old.graph.outputs if isinstance(old.graph, ir.Graph) else []
    for at in [i for i, output in enumerate(outputs) if output is old]:
        outputs[at] = new
    new.type, new.shape = old.type, old.shape
    old.name, new.name = new.name, old.name


def write(cut: Cut, node: ir.Node, index: int, numbers: np.ndarray) -> None:
    """Give an input other numbers; a constant that others read as well is copied."""
    value = node.inputs[index]
    if value is not None and len(value.uses()) == 1 and constant_tensor(value) is not None:
        set_constant(value, numbers)
    else:
        name = f"{node.outputs[0].name}_{index}"
        node.replace_input_with(index, cut.initializer(name, numbers))


def listed(cut: Cut, node: ir.Node, name: str, index: int, default: range | list[int] | tuple[()]) -> list[int]:
    """A list of integers that is an attribute in old opsets and an input in newer ones."""
    given = attribute(node, name)
    if given is None and cut.found.has(node, index):
        given = cut.found.concrete(node, index)
    return list(default if given is None else given)


def set_entries(cut: Cut, node: ir.Node, name: str, index: int, entries: dict[int, int]) -> None:
    """Overwrite single entries of such a list; the others may be computed when the model runs."""
    if not entries:
        return
    if name in node.attributes:
        listed = list(node.attributes[name].value)
        for at, number in entries.items():
            listed[at] = number
        node.attributes[name] = ir.AttrInt64s(name, listed)
        return
    value = node.inputs[index] if index < len(node.inputs) else None
    numbers = array(value)
    if value is None:
        return
    if numbers is not None:
        new = numbers.copy()  # of one type with the other bounds
        for at, number in entries.items():
            new[at] = min(number, int(np.iinfo(new.dtype).max))
        write(cut, node, index, new)
        return
    kind = cut.found.dtype(value)
    total, bounds = cut.found.shape_of(node, index)[0], (kind or ir.DataType.INT64).numpy()
    mask, new = np.zeros(total, bool), np.zeros(total, bounds)
    for at, number in entries.items():
        mask[at], new[at] = True, min(number, int(np.iinfo(bounds).max))
    chosen = [cut.initializer(f"{value.name}_mask", mask), cut.initializer(f"{value.name}_kept", new), value]
    result = inserted(cut, node, "Where", list(chosen), f"{value.name}_cut")
    result.type = ir.TensorType(ir.DataType(kind or ir.DataType.INT64))
    node.replace_input_with(index, result)
