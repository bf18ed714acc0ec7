"""The grid that a DequantizeLinear of constants lays under a weight: y = (q - z) s.

Scale s and zero point z hold for the whole tensor, for each index of one axis, or for each block of such an axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph

_INTEGERS = {"INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16", "INT32"}
_NARROW = (7, 63, 127, 32767)
"""Largest integers of symmetric grids: 4, 7, 8 and 16 bits, whatever type stores them."""


@dataclass(frozen=True)
class Stored:
    """A DequantizeLinear whose inputs are all constants.

    Attributes:
        node: The node.
    """

    node: ir.Node

    @property
    def value(self) -> ir.Value:
        """The constant that holds the integers."""
        found = self.node.inputs[0]
        assert found is not None
        return found

    def numbers(self) -> np.ndarray:
        """The integers less their zero points, int32."""
        return _read(self.node, 0).astype(np.int32) - self._zeros()

    def scales(self) -> np.ndarray:
        """The scale of every element, float32, in the shape of the integers (a view)."""
        return self._spread(_read(self.node, 1).astype(np.float32))

    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value of `numbers`, int32 each, broadcast against it.

        A symmetric grid is as narrow as the integers that are there: 7 bits stay 7 bits, and -128 stays unused.
        """
        dtype, zeros = self._dtype(), self._zeros()
        low, high = _ends(dtype)
        if low < 0 and not zeros.any():
            there = self.numbers()
            least, most = int(there.min(initial=0)), int(there.max(initial=0))
            narrow = next((n for n in _NARROW if n + 1 >= -least and n >= most and n <= high), high)
            low, high = (-narrow - 1 if least < -narrow else -narrow), narrow
        return np.int32(low) - zeros, np.int32(high) - zeros

    def wide_limits(self) -> tuple[int, int]:
        """What the type itself allows, for biases."""
        return _ends(self._dtype())

    def encoded(self, numbers: np.ndarray) -> np.ndarray:
        """`numbers` with their zero points, in the stored type."""
        return (numbers + self._zeros()).astype(_read(self.node, 0).dtype)

    def _dtype(self) -> ir.DataType:
        tensor = graph.tensor_of(self.value)
        assert tensor is not None
        return tensor.dtype

    def _zeros(self) -> np.ndarray:
        if len(self.node.inputs) < 3 or self.node.inputs[2] is None:
            return np.zeros((), np.int32)
        zeros = _read(self.node, 2).astype(np.int32)
        return self._spread(zeros) if zeros.any() else np.zeros((), np.int32)

    def _spread(self, part: np.ndarray) -> np.ndarray:
        """One number each, an axis or a block, as one for every element."""
        tensor = graph.tensor_of(self.value)
        assert tensor is not None
        shape = tuple(tensor.shape.numpy())
        if part.size == 1:
            return np.broadcast_to(part.reshape(()), shape)
        axis = int(graph.attribute(self.node, "axis", 1)) % len(shape)
        block = int(graph.attribute(self.node, "block_size", 0))
        if block:
            wide = np.repeat(part, block, axis)
            return np.take(wide, np.arange(shape[axis]), axis) if wide.shape != shape else wide
        return np.broadcast_to(part.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)


def stored_of(value: ir.Value | None) -> Stored | None:
    """The integers that `value` is dequantized from; None where it is not, or not from constants."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain not in ("", "ai.onnx"):
        return None
    tensor = graph.tensor_of(node.inputs[0])
    if tensor is None or tensor.dtype.name not in _INTEGERS:
        return None
    return Stored(node) if all(v is None or graph.is_constant(v) for v in node.inputs) else None


def _read(node: ir.Node, index: int) -> np.ndarray:
    array = graph.array_of(node.inputs[index])
    assert array is not None, "stored_of checked that it is constant"
    return array


def _ends(dtype: ir.DataType) -> tuple[int, int]:
    bits = int(dtype.name.lstrip("UINT"))
    return (0, 2**bits - 1) if dtype.name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
