"""Where a tensor's numbers come from: constants that are moved, quantized or computed with, or positions.

A kernel may be computed from constants alone, and what it is computed from is learned:

    w = v g / |v|               weight normalization (Salimans and Kingma 2016, arXiv 1602.07868)
    w = (v - mean v) / std v    weight standardization (Qiao et al. 2019, arXiv 1903.10520)
    w = v m                     a mask m of zeros and ones, which stays

Angles are computed from positions and frequencies, which are no weights (Su et al. 2021, RoFormer, arXiv 2104.09864).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.distill.grids import multiplied

MOVES = {
    "Identity", "Transpose", "Reshape", "Cast", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear",
    "Concat", "Slice", "Split", "Expand", "Flatten",
}  # fmt: skip
_SIZES = {"Shape", "Size"}
_ANGLES, _TO_ANGLES = {"Sin", "Cos"}, {*MOVES, "Mul", "Add"}


def stored(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a constant, or the default of an input that has one."""
    if value is not None and value.is_initializer():
        return value.const_value
    return graph.tensor_of(value)


class Origins:
    """The constants behind the values of one model.

    Args:
        model: The model, without local functions.
    """

    def __init__(self, model: ir.Model) -> None:
        self._scanned = _scanned(model)
        self._decided = _decided(model)

    def decided(self, node: ir.Node) -> bool:
        """True where a node works on constants and sizes alone."""
        return node.outputs[0] in self._decided

    def moved(self, value: ir.Value | None) -> Iterator[ir.Value]:
        """The constants that reach `value` through ops that only move or quantize."""
        if value is None:
            return
        value = self._scanned.get(value, value)
        if stored(value) is not None:
            yield value
            return
        node = value.producer()
        if node is not None and (found := multiplied(node)) is not None:
            yield found[0]
        elif node is not None and node.op_type in MOVES:
            for given in node.inputs if node.op_type == "Concat" else node.inputs[:1]:
                yield from self.moved(given)

    def is_moved(self, value: ir.Value | None) -> bool:
        """True where nothing but constants that are moved makes `value`."""
        if value is None or stored(value) is not None:
            return value is not None
        return value in self._decided and any(True for _ in self.moved(value))

    def kernel(self, value: ir.Value | None) -> list[ir.Value]:
        """The constants that a parameter is moved from, or else computed from."""
        found = list(self.moved(value))
        return found if found or value not in self._decided else _factors(value)


def is_frequency(node: ir.Node, value: ir.Value) -> bool:
    """True where `node` multiplies a constant behind `value` with positions, and angles come of it."""
    others = [given for given in node.inputs if given is not None and given is not value]
    return bool(others) and _become_angles(node) and all(_is_counted(given) for given in others)


def is_turning(node: ir.Node, table: ir.Value) -> bool:
    """True where `node` looks up sines or cosines that something is multiplied with: 1, or 0, at the first position."""
    tensor, readers = stored(table), _behind_moves(node)
    if tensor is None or tensor.size < 2 or not readers or any(reader.op_type != "Mul" for reader in readers):
        return False
    numbers = tensor.numpy()
    begins = bool(np.isin(numbers[:1], (0, 1)).all() and np.ptp(numbers[:1]) == 0)
    return begins and bool((np.abs(numbers) <= 1).all())


def _behind_moves(node: ir.Node) -> list[ir.Node]:
    """What reads a node's results, behind ops that only move them."""
    readers = [use.node for out in node.outputs for use in out.uses()]
    return [last for r in readers for last in (_behind_moves(r) if r.op_type in MOVES else [r])]


def _scanned(model: ir.Model) -> Mapping[ir.Value, ir.Value]:
    """What each sliced input of a Scan's body is a slice of: layers stacked along an axis are weights."""
    found: dict[ir.Value, ir.Value] = {}
    for node in graph.iter_nodes(model):
        if node.op_type == "Scan" and (count := int(graph.attribute(node, "num_scan_inputs", 0))):
            pairs = zip(node.attributes["body"].as_graph().inputs[-count:], node.inputs[-count:], strict=True)
            found |= {inner: outer for inner, outer in pairs if outer is not None}
    return found


def _decided(model: ir.Model) -> set[ir.Value]:
    """Values that are computed from constants and sizes alone."""
    found: set[ir.Value] = set()
    for node in graph.iter_nodes(model):
        bodies = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
        fixed = bool(node.inputs) and all(v is None or v in found or stored(v) is not None for v in node.inputs)
        if not bodies and (node.op_type in _SIZES or fixed):
            found.update(node.outputs)
    return found


def _factors(value: ir.Value) -> list[ir.Value]:
    """The float constants that `value` is computed from, but for masks; none where integers are numbers among them."""
    leaves = [leaf for leaf in _leaves(value) if (tensor := stored(leaf)) is not None and tensor.size > 1]
    if any(use.node.op_type == "Cast" and not _is_float(leaf) for leaf in leaves for use in leaf.uses()):
        return []
    return [leaf for leaf in leaves if _is_float(leaf) and not _is_mask(leaf)]


def _leaves(value: ir.Value) -> Iterator[ir.Value]:
    """What `value` is computed from, back to constants and inputs; of sizes nothing."""
    todo, seen = [value], {value}
    while todo:
        here = todo.pop()
        node = here.producer()
        if stored(here) is not None or node is None:
            yield here
        elif node.op_type not in _SIZES:
            given = [v for v in node.inputs if v is not None and v not in seen]
            seen.update(given)
            todo += reversed(given)


def _is_float(value: ir.Value) -> bool:
    kind = value.dtype or getattr(stored(value), "dtype", None)
    return kind is None or kind.is_floating_point()


def _is_mask(value: ir.Value) -> bool:
    tensor = stored(value)
    return tensor is not None and bool(np.isin(tensor.numpy(), (0, 1)).all())


def _become_angles(node: ir.Node) -> bool:
    """True where everything that reads the node's result makes angles of it."""
    todo, seen = [node], {node}
    while todo:
        outs = todo.pop().outputs
        readers = {use.node for out in outs for use in out.uses() if use.node.op_type not in _ANGLES}
        if any(out.is_graph_output() for out in outs) or not any(out.uses() for out in outs):
            return False
        if any(reader.op_type not in _TO_ANGLES for reader in readers):
            return False
        todo += readers - seen
        seen |= readers
    return True


def _is_counted(value: ir.Value) -> bool:
    """True for whole numbers and what is computed from them: no float that is given or stored enters, but numbers."""
    for leaf in _leaves(value):
        tensor = stored(leaf)
        if _is_float(leaf) and (tensor is None or tensor.size > 1):
            return False
    return True
