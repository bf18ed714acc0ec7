"""Constants stored as integers, read as floats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.quantization.rounding.grid import Stored, stored_of
from onnxcompress.passes.reconstruction.slots import Slot, slot_of

_THROUGH = ("Identity", "Transpose")


@dataclass(frozen=True)
class QuantizedSlot(Slot):
    """A constant input that is stored as integers; `source` is what they are dequantized to.

    Attributes:
        stored: Integers, scales and zero points.
    """

    stored: Stored

    def read(self) -> np.ndarray:
        """The numbers as the reader gets them, float32 (or the type of their scale)."""
        return self.seen(self.stored.numbers() * self.stored.scales()).astype(self._kind(), copy=False)

    def seen(self, array: np.ndarray) -> np.ndarray:
        """An array in the shape of the integers, as the reader sees it."""
        for step in reversed(self.chain):
            if step.op_type == "Transpose":
                array = array.transpose(_permutation(step, array.ndim))
        return array

    def unseen(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `seen`."""
        for step in self.chain:
            if step.op_type == "Transpose":
                array = array.transpose(np.argsort(_permutation(step, array.ndim)))
        return array

    def write(self, array: np.ndarray) -> None:
        """Not meant for integers: they are written through a `Journal`, after their rounding was chosen."""
        raise TypeError("integers are written through a journal")

    def _kind(self) -> np.dtype[np.floating]:
        scale = graph.tensor_of(self.stored.scale)
        assert scale is not None
        return scale.dtype.numpy()

    @property
    def shared(self) -> bool:
        """Whether somebody else reads the same integers."""
        return not self._alone() or len(list(self.stored.value.uses())) > 1


def quantized_or_plain(node: ir.Node, index: int) -> Slot | None:
    """The slot at an input of `node`: integers with their scale, or a plain constant."""
    return slot_of(node, index) or _quantized(node, index)


def _quantized(node: ir.Node, index: int) -> QuantizedSlot | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    chain: list[ir.Node] = []
    while value is not None:
        stored = stored_of(value)
        if stored is not None:
            return QuantizedSlot(node, index, tuple(chain), value, stored)
        maker = value.producer()
        if maker is None or maker.op_type not in _THROUGH or maker.domain not in ("", "ai.onnx"):
            return None
        chain.append(maker)
        value = maker.inputs[0]
    return None


def _permutation(step: ir.Node, rank: int) -> list[int]:
    return list(graph.attribute(step, "perm") or range(rank - 1, -1, -1))
