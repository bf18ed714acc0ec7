"""The grid that integers behind a DequantizeLinear (or behind Cast and Mul) lay under a weight: y = (q - z) s.

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
    """Constants that stand for a weight.

    Attributes:
        value: The integers.
        scale: Their scales.
        zero: Their zero points; None where they are 0.
        axis: The axis that scales and zero points go along where they are vectors, or are blocked along.
        block: Integers in a block of `axis`; 0 for none.
    """

    value: ir.Value
    scale: ir.Value
    zero: ir.Value | None = None
    axis: int = 1
    block: int = 0

    def numbers(self) -> np.ndarray:
        """The integers less their zero points, int32."""
        return _read(self.value).astype(np.int32) - self._zeros()

    def scales(self) -> np.ndarray:
        """The scale of every element, float32, in the shape of the integers (a view)."""
        return self._spread(_read(self.scale).astype(np.float32))

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
        return (numbers + self._zeros()).astype(_read(self.value).dtype)

    def _dtype(self) -> ir.DataType:
        tensor = graph.tensor_of(self.value)
        assert tensor is not None
        return tensor.dtype

    def _zeros(self) -> np.ndarray:
        zeros = np.zeros((), np.int32) if self.zero is None else _read(self.zero).astype(np.int32)
        return self._spread(zeros) if zeros.any() else np.zeros((), np.int32)

    def _spread(self, part: np.ndarray) -> np.ndarray:
        """One number each, an axis or a block, as one for every element."""
        tensor = graph.tensor_of(self.value)
        assert tensor is not None
        shape = tuple(tensor.shape.numpy())
        if part.size == 1:
            return np.broadcast_to(part.reshape(()), shape)
        axis = self.axis % len(shape)
        if self.block:
            return np.take(np.repeat(part, self.block, axis), np.arange(shape[axis]), axis)
        if part.ndim == len(shape) and part.ndim > 1:
            return np.broadcast_to(part, shape)
        return np.broadcast_to(part.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)


def stored_of(value: ir.Value | None) -> Stored | None:
    """The integers that `value` is made of: behind a DequantizeLinear of constants, or behind Cast and Mul."""
    node = None if value is None else value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in ("DequantizeLinear", "Mul"):
        return None
    numbers, scale, *zero = node.inputs
    zero = zero[0] if zero else None
    axis, block = (int(graph.attribute(node, name, default)) for name, default in (("axis", 1), ("block_size", 0)))
    if node.op_type == "Mul":
        numbers = _cast_from(numbers)
        axis = -1
    tensor = graph.tensor_of(numbers)
    if numbers is None or scale is None or tensor is None or tensor.dtype.name not in _INTEGERS:
        return None
    constant = graph.is_constant(scale) and (zero is None or graph.is_constant(zero))
    return Stored(numbers, scale, zero, axis, block) if constant else None


def _cast_from(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == "Cast" else None


def _read(value: ir.Value) -> np.ndarray:
    array = graph.array_of(value)
    assert array is not None, "stored_of checked that it is constant"
    return array


def _ends(dtype: ir.DataType) -> tuple[int, int]:
    bits = int(dtype.name.lstrip("UINT"))
    return (0, 2**bits - 1) if dtype.name.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
