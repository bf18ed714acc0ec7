"""Write the scales into the constants."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import all_names, label, tensor_of
from onnxcompress.passes.batchnorm.weights import put
from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.quantization.equalization.marks import Marks, Slot

Port = tuple[ir.Node, int]


def write(marks: Marks, scales: np.ndarray) -> int:
    """Edit the model of `marks`; `scales` by atom. Classes with a constant that would overflow keep the scale 1.

    Returns:
        How many constants changed.
    """
    ports: dict[Port, list[Slot]] = {}
    for slot in marks.slots:
        ports.setdefault((slot.node, slot.index), []).append(slot)
    roots = marks.atoms.roots(np.arange(len(marks.atoms)))
    made = _made(ports, roots, scales)
    names = all_names(marks.model)
    for (node, index), tensor in made.items():
        old = node.inputs[index]
        put(node, index, tensor, marks.model.graph, names, f"{label(node)}_scaled")
        _drop(marks.model.graph, old)
    return len(made)


def _made(ports: dict[Port, list[Slot]], roots: Ids, scales: np.ndarray) -> dict[Port, ir.TensorProtocol]:
    """The new constants; where one is not finite its classes are let go, and all is computed again."""
    while True:
        made: dict[Port, ir.TensorProtocol] = {}
        spoiled: list[Ids] = []
        for (node, index), slots in ports.items():
            by = [scales[roots[slot.ids]] ** slot.power for slot in slots]
            if all((factor == 1).all() for factor in by):
                continue
            tensor = _scaled(tensor_of(node.inputs[index]), by)
            if tensor is None:
                spoiled += [np.unique(roots[slot.ids]) for slot in slots]
            else:
                made[node, index] = tensor
        if not spoiled:
            return made
        scales[np.concatenate(spoiled)] = 1.0


def _scaled(tensor: ir.TensorProtocol | None, factors: list[np.ndarray]) -> ir.TensorProtocol | None:
    assert tensor is not None
    wide = np.asarray(tensor.numpy(), np.float64)
    for factor in factors:
        wide = wide * factor
    with np.errstate(over="ignore"):
        narrow = wide.astype(tensor.dtype.numpy())
    if not np.isfinite(narrow).all() or ((narrow == 0) & (wide != 0)).any():
        return None
    return ir.tensor(narrow, dtype=tensor.dtype)


def _drop(graph: ir.Graph, value: ir.Value | None) -> None:
    """Take a constant away that nothing reads any more."""
    if value is None or value.uses() or value.is_graph_output():
        return
    node = value.producer()
    if node is not None and node.op_type == "Constant":
        graph.remove(node)
    elif value.is_initializer() and (value.name or "") in graph.initializers:
        del graph.initializers[value.name or ""]
