"""Which numbers of a graph are weights: a raw ONNX file does not say.

A weight is a floating-point constant that reaches a parameter of an operator (see `slots`) directly, through ops that
only move or quantize it, or by arithmetic with other constants (see `origins`); or a constant operand of Add, Sub or
Mul beside an activation; or a token that is put before those of a sample. No weights are the frequencies and tables of
angles, masks, and counts such as strides. An integer constant on a grid is a weight too (see `grids`). Running
statistics of batch normalization are state. Constants may be initializers of any scope or Constant nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.grids import Grid, grid_of, is_on_grid
from onnxcompress.distill.ops.dtypes import QUANT_RANGE
from onnxcompress.distill.origins import Origins, is_frequency, is_turning, stored
from onnxcompress.distill.slots import slots_of
from onnxcompress.report import Finding, Severity

_PRODUCTS = {"Mul", "MatMul", "Einsum"}
# What is added to scores at least to hide them.
_HIDDEN = -1e4
_TOKENS = 3
# Fewer numbers may be whole by accident.
_COUNTED = 4
_FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}


Places = dict[ir.Value, list[tuple[str, ir.Node]]]


@dataclass(frozen=True, eq=False)
class Weight:
    """One trainable (or followed) constant.

    Attributes:
        name: Name of the initializer or of the Constant's output.
        value: The value that holds it.
        role: ``weight``, ``bias``, ``norm``, ``scale`` of a Q/DQ node, or ``state`` for running statistics.
        node: Name of the first node that uses it as a parameter.
        grid: Its grid where it is stored as integers.
        nodes: All nodes that use it as a parameter.
    """

    name: str
    value: ir.Value
    role: str
    node: str
    grid: Grid | None = None
    nodes: tuple[ir.Node, ...] = ()


def find_weights(model: ir.Model) -> tuple[list[Weight], list[Finding]]:
    """All weights and states of `model` in the order of use, and what had to be left alone."""
    weights: list[Weight] = []
    findings: list[Finding] = []
    for value, places in parameter_places(model).items():
        role, node = next((place for place in places if place[0] == "weight"), places[0])
        found = _weight(value, role, node)
        if isinstance(found, Weight):
            weights.append(replace(found, nodes=tuple(dict.fromkeys(node for _, node in places))))
            findings += _tied(found, places)
        elif found is not None:
            findings.append(found)
    return weights, findings


def parameter_places(model: ir.Model) -> Places:
    """Every constant that is a parameter, with the roles and nodes that it has that part in."""
    uses: Places = {}
    origins = Origins(model)
    for node in graph.iter_nodes(model):
        for role, value in _parameters(node, origins):
            uses.setdefault(value, []).append((role, node))
    _drop_late_tables(model, uses)
    return uses


def _parameters(node: ir.Node, origins: Origins) -> Iterator[tuple[str, ir.Value]]:
    """(role, constant) of every parameter of a node."""
    for place, role in slots_of(node).roles.items():
        if place < len(node.inputs) and not _is_angle(node, place):
            yield from ((role, v) for v in origins.kernel(node.inputs[place]))
    if node.op_type == "BatchNormalization":
        yield from (("state", v) for i in (3, 4) for v in origins.moved(node.inputs[i]))
    if node.op_type in ("Add", "Sub") or (node.op_type == "Mul" and not origins.decided(node)):
        role = "norm" if node.op_type == "Mul" else "bias"
        for place, other in enumerate(node.inputs[::-1]):
            if not origins.is_moved(other) and not _is_angle(node, place):
                yield from ((role, v) for v in _operand(node.inputs[place], node.op_type, origins))
    if node.op_type == "Concat":
        yield from (("bias", v) for v in _tokens(node, origins))


def _is_angle(node: ir.Node, place: int) -> bool:
    given = node.inputs[place]
    if node.op_type == "Gather":
        return given is not None and is_turning(node, given)
    return node.op_type in _PRODUCTS and given is not None and is_frequency(node, given)


def _operand(value: ir.Value | None, op_type: str, origins: Origins) -> Iterator[ir.Value]:
    """Constant operands beside an activation; Mul only by a vector (a scale), not by a table."""
    for origin in origins.moved(value):
        tensor = stored(origin)
        wide = 0 if tensor is None else sum(s > 1 for s in tensor.shape.numpy())
        if (wide == 1 or (wide > 1 and op_type != "Mul")) and tensor is not None and not _is_given(tensor):
            yield origin


def _is_given(tensor: ir.TensorProtocol) -> bool:
    """True for what is no result of learning: masks, and counts (strides, places on a grid), whole or halved."""
    if tensor.dtype not in _FLOATS:
        return False
    numbers = tensor.numpy().astype(np.float64)
    if not numbers.size or numbers.min() <= _HIDDEN:
        return True
    halves = 2 * numbers
    return bool(tensor.size >= _COUNTED and np.ptp(numbers) > 0 and (halves == np.rint(halves)).all())


def _tokens(node: ir.Node, origins: Origins) -> Iterator[ir.Value]:
    """Learned tokens (of the class, registers) that are put before those of a sample: 1 x count x width."""
    beside = any(not origins.is_moved(given) for given in node.inputs)
    if not beside or int(graph.attribute(node, "axis", 0)) not in (1, -2):
        return
    for given in node.inputs:
        for origin in origins.moved(given) if origins.is_moved(given) else ():
            tensor = stored(origin)
            sizes = () if tensor is None else tensor.shape.numpy()
            if len(sizes) == _TOKENS and sizes[0] == 1 < sizes[2] and tensor is not None and not _is_given(tensor):
                yield origin


def _drop_late_tables(model: ir.Model, uses: Places) -> None:
    """Forget added tables after which nothing is learned: anchor boxes of a detector, not position embeddings."""
    learned: dict[ir.Node, bool] = {}

    def before_linear(node: ir.Node) -> bool:
        """True where a linear op lies downstream; nodes are visited in reverse topological order."""
        readers = (use.node for out in node.outputs for use in out.uses())
        return any(slots_of(reader).linear or learned.get(reader, False) for reader in readers)

    for scope in graph.scopes(model):
        for node in reversed(list(scope)):
            learned[node] = before_linear(node)
    for value, places in list(uses.items()):
        tensor = stored(value)
        table = tensor is not None and sum(s > 1 for s in tensor.shape.numpy()) > 1
        if table and all(node.op_type in ("Add", "Sub") and not learned[node] for _, node in places):
            del uses[value]


def _weight(value: ir.Value, role: str, node: ir.Node) -> Weight | Finding | None:
    """The weight behind `value`; a finding where it cannot be trained; None where it is no weight."""
    tensor, name = stored(value), value.name or ""
    if tensor is None:
        return None
    if tensor.dtype in _FLOATS:
        own = role == "state" or bool(slots_of(node).roles)  # a single number elsewhere is part of a formula
        return Weight(name, value, role, node.name or "") if tensor.size > 1 or own else None
    if tensor.dtype not in QUANT_RANGE or not all(is_on_grid(use.node, use.idx) for use in value.uses()):
        return None
    grids = [grid_of(use.node, tensor) for use in value.uses()]
    first = grids[0]
    if first is None or not all(g is not None and g.same(first) for g in grids):
        message = "its dequantizers differ or their scales are not constant; it keeps its numbers"
        return Finding("DISTILL-GRID-UNCLEAR", message, name, Severity.WARNING)
    return Weight(name, value, role, node.name or "", first)


def _tied(weight: Weight, places: list[tuple[str, ir.Node]]) -> list[Finding]:
    nodes = {node for _, node in places}
    if len(nodes) < 2 or weight.role == "state":
        return []
    message = f"{len(nodes)} nodes share this constant; they stay tied in training"
    return [Finding("DISTILL-TIED", message, weight.name, numbers={"nodes": len(nodes)})]
