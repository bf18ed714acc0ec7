"""The fixed grids that integer weights live on, in each form that a file may hold them.

* behind DequantizeLinear: per tensor, per axis, in blocks;
* Mul(Cast(q), s), which a runtime folds into a float weight while it loads;
* packed in the input of com.microsoft::MatMulNBits, several numbers a byte, in blocks along its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.fake_quant import ROWS, along
from onnxcompress.distill.ops.dtypes import QUANT_RANGE

# Wider integers before a Cast and a Mul are positions and counts.
_NARROW = {ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT8, ir.DataType.UINT8}


@dataclass(frozen=True)
class Grid:
    """The fixed grid that an integer weight lives on.

    Attributes:
        scale: Step, laid out to broadcast against the weight.
        zero: Zero point, likewise, as floats.
        low: Smallest index.
        high: Largest index.
        source: The value that holds the scale as it is stored.
        axis: Axis that a scale of several numbers runs along.
        block: Elements of that axis that share a scale; 0 for one a channel, `fake_quant.ROWS` for one a row.
        bits: Size of one number where several share a byte; 0 where each is an element of the tensor.
    """

    scale: np.ndarray = field(repr=False)
    zero: np.ndarray = field(repr=False)
    low: int
    high: int
    source: ir.Value
    axis: int
    block: int
    bits: int = 0

    def same(self, other: Grid) -> bool:
        """True for equal numbers."""
        equal = np.array_equal(self.scale, other.scale) and np.array_equal(self.zero, other.zero)
        return self.bits == other.bits and self.scale.shape == other.scale.shape and equal

    def spread(self, array: np.ndarray) -> np.ndarray:
        """The indices of a stored tensor, one an element: rows of blocks where they are packed."""
        if not self.bits:
            return array
        mask = np.uint8(2**self.bits - 1)
        parts = [(array >> np.uint8(shift)) & mask for shift in range(0, 8, self.bits)]
        return np.stack(parts, -1).reshape(*self.scale.shape[:2], -1)

    def packed(self, indices: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The stored form, of this shape, of indices."""
        if not self.bits:
            return indices
        parts = indices.astype(np.uint8).reshape(*shape, 8 // self.bits)
        shifts = np.arange(0, 8, self.bits, dtype=np.uint8)
        return np.bitwise_or.reduce(parts << shifts, axis=-1).astype(np.uint8)


def is_on_grid(node: ir.Node, index: int) -> bool:
    """True for a reader that takes the integers of a tensor as a weight on a grid."""
    if node.op_type == "Cast":
        readers = [u.node for u in node.outputs[0].uses()]
        return bool(readers) and all(multiplied(reader) is not None for reader in readers)
    return (node.op_type, index) in (("DequantizeLinear", 0), ("MatMulNBits", 1))


def multiplied(node: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """(q, s) of the Mul in Mul(Cast(q), s) with constant integers and a constant scale."""
    if node.op_type != "Mul" or len(node.inputs) != 2:
        return None
    for given, scale in (node.inputs, node.inputs[::-1]):
        cast = None if given is None else given.producer()
        if given is None or scale is None or cast is None or cast.op_type != "Cast":
            continue
        (tensor, step), source = (graph.tensor_of(cast.inputs[0]), graph.tensor_of(scale)), cast.inputs[0]
        if source is not None and tensor is not None and tensor.dtype in _NARROW and step is not None:
            return source, scale
    return None


def scale_of(node: ir.Node) -> ir.Value | None:
    """The scale that a node quantizes or dequantizes with."""
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return node.inputs[1]
    if node.op_type == "MatMulNBits":
        return node.inputs[2]
    found = multiplied(node)
    return None if found is None else found[1]


def grid_of(reader: ir.Node, tensor: ir.TensorProtocol) -> Grid | None:
    """The grid of a weight by one of its readers; None where it is not constant, or differs behind the reader."""
    if reader.op_type == "Cast":
        found = [_of_product(use.node, tensor) for use in reader.outputs[0].uses()]
        first = found[0]
        return first if first is not None and all(g is not None and g.same(first) for g in found) else None
    return _of_bits(reader) if reader.op_type == "MatMulNBits" else _of_pair(reader, tensor)


def _of_pair(reader: ir.Node, tensor: ir.TensorProtocol) -> Grid | None:
    scale, source, given = graph_array(reader.inputs[1]), reader.inputs[1], _given(reader, 2)
    zero = graph_array(given)
    if scale is None or source is None or (zero is None and given is not None):
        return None
    zero = np.zeros_like(scale) if zero is None else zero
    layout = int(graph.attribute(reader, "axis", 1)), int(graph.attribute(reader, "block_size", 0))
    low, high = QUANT_RANGE[tensor.dtype]
    return _grid(scale, zero, tuple(tensor.shape.numpy()), (low, high), source, layout)


def _of_product(reader: ir.Node, tensor: ir.TensorProtocol) -> Grid | None:
    found = multiplied(reader)
    scale, rank = None if found is None else graph_array(found[1]), len(tensor.shape)
    if found is None or scale is None or (scale.size > 1 and scale.ndim not in (1, rank)):
        return None
    zero = np.zeros((), np.float32)
    return _grid(scale, zero, tuple(tensor.shape.numpy()), QUANT_RANGE[tensor.dtype], found[1], (rank - 1, 0))


def _of_bits(reader: ir.Node) -> Grid | None:
    bits, rows = int(graph.attribute(reader, "bits", 4)), int(graph.attribute(reader, "N", 0))
    source, given = reader.inputs[2], _given(reader, 3)
    scale, zero = graph_array(source), graph_array(given)
    if source is None or scale is None or bits not in (2, 4, 8) or (zero is None and given is not None):
        return None
    scale = scale.astype(np.float32).reshape(rows, -1, 1)
    if zero is None:
        zero = np.full(scale.shape, 2 ** (bits - 1))
    elif zero.dtype == np.uint8:
        parts = [(zero >> np.uint8(shift)) & np.uint8(2**bits - 1) for shift in range(0, 8, bits)]
        zero = np.stack(parts, -1).reshape(rows, -1)[:, : scale.shape[1]]
    zero = zero.astype(np.float32).reshape(scale.shape)
    if (zero != np.round(zero)).any():
        return None
    return Grid(scale, zero, 0, 2**bits - 1, source, 2, ROWS, bits)


def _grid(
    scale: np.ndarray,
    zero: np.ndarray,
    shape: tuple[int, ...],
    limits: tuple[int, int],
    source: ir.Value,
    layout: tuple[int, int],
) -> Grid:
    laid = [along(torch.from_numpy(a.astype(np.float32)), shape, *layout).numpy() for a in (scale, zero)]
    return Grid(laid[0], laid[1], *limits, source, *layout)


def _given(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def graph_array(value: ir.Value | None) -> np.ndarray | None:
    """The numbers of a constant, or of an input that has some by default."""
    if value is not None and value.is_initializer() and value.const_value is not None:
        return value.const_value.numpy()
    return graph.array_of(value)
