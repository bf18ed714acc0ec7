"""The removal of a branch: y = u + b becomes y = u + mean(b), or y = u where no mean is known."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import add_initializer, all_names, fresh_name
from onnxcompress.passes.depth.branches import Branch, reads
from onnxcompress.passes.normalizing.dead import remove_dead
from onnxcompress.shapes import ShapeTable


def remove(model: ir.Model, branch: Branch, mean: np.ndarray | None, table: ShapeTable) -> None:
    """Take `branch` out of `model`, in place.

    Args:
        model: The model that the branch was found in.
        branch: What goes.
        mean: Its mean by channel, shape (channels,), which stays as a bias; None for none.
        table: Shapes of the model.
    """
    numbers = _bias(branch, mean, table)
    if numbers is None:
        _bypass(branch)
    else:
        name = fresh_name(all_names(model), f"{branch.value.name}_mean")
        branch.adder.replace_input_with(branch.index, add_initializer(model.graph, name, numbers))
    remove_dead(model)


def _bias(branch: Branch, mean: np.ndarray | None, table: ShapeTable) -> np.ndarray | None:
    """The constant that takes the branch's place, of the stream's dtype and as few axes as broadcasting needs."""
    shape, kind = table.probe(branch.output.name), table.dtype(branch.output.name)
    if mean is None or shape is None or kind is None or not np.isfinite(mean).all():
        return None
    axis = branch.channel_axis % len(shape)
    if len(mean) != shape[axis]:
        return None
    return mean.reshape(-1, *(1,) * (len(shape) - 1 - axis)).astype(kind.numpy())


def _bypass(branch: Branch) -> None:
    """Readers of the sum read the shortcut; a graph output keeps its name, behind an Identity."""
    adder, shortcut = branch.adder, branch.shortcut
    if branch.output.is_graph_output():
        adder.replace_input_with(1, None)
        adder.replace_input_with(0, shortcut)
        adder.resize_inputs(1)
        adder.op_type = "Identity"
        return
    for reader, at in list(branch.output.uses()):
        reader.replace_input_with(at, shortcut)


def unused_inputs(model: ir.Model) -> set[str]:
    """Graph inputs from which no output depends any more."""
    seen: set[ir.Value] = set()
    todo: list[ir.Value] = list(model.graph.outputs)
    while todo:
        value = todo.pop()
        if value not in seen:
            seen.add(value)
            maker = value.producer()
            todo.extend(reads(maker) if maker is not None else [])
    return {value.name or "" for value in model.graph.inputs if value not in seen}
