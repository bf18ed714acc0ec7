"""What a quantized constant stands for: real = (number - zero point) * scale, both by axis, by block or one for all."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute
from onnxcompress.passes.pruning.trace import Port, Use, array

_READERS: dict[tuple[str, int], tuple[int | None, int | None, int | None]] = {
    ("DequantizeLinear", 0): (1, 2, None),
    ("QLinearConv", 3): (4, 5, 0),
    ("ConvInteger", 1): (None, 3, 0),
    ("QLinearMatMul", 3): (4, 5, -1),
    ("MatMulInteger", 1): (None, 3, -1),
}
"""Reader and input: where scale and zero point stand, and the axis they run along (None: the node's attribute)."""


def real(use: Use, numbers: np.ndarray) -> np.ndarray:
    """What the constant's readers take its numbers for, float64."""
    node, scale_at, point_at, axis = _reader(use)
    wide = numbers.astype(np.float64)
    if node is None or numbers.dtype.kind not in "iu":
        return wide
    scale, point = _given(node, scale_at), _given(node, point_at)
    wide = wide if point is None else wide - _spread(node, point.astype(np.float64), axis, numbers.shape)
    return wide if scale is None else wide * _spread(node, scale.astype(np.float64), axis, numbers.shape)


def nothing(use: Use, numbers: np.ndarray) -> np.ndarray:
    """What the constant's readers take for zero, of its own type; it broadcasts to its shape."""
    node, _, point_at, axis = _reader(use)
    point = None if node is None else _given(node, point_at)
    if node is None or point is None or point.dtype != numbers.dtype:
        return np.zeros((), numbers.dtype)
    return _spread(node, point, axis, numbers.shape)


def _reader(use: Use) -> tuple[ir.Node | None, int | None, int | None, int | None]:
    ports: list[Port] = use.ports or [(u.node, u.idx) for u in use.value.uses()]
    for node, index in ports:
        if (node.op_type, index) in _READERS:
            return node, *_READERS[node.op_type, index]
    return None, None, None, None


def _given(node: ir.Node, index: int | None) -> np.ndarray | None:
    return array(node.inputs[index]) if index is not None and index < len(node.inputs) else None


def _spread(node: ir.Node, numbers: np.ndarray, axis: int | None, shape: tuple[int, ...]) -> np.ndarray:
    """One number a value, as far as it differs along axes."""
    along = (int(attribute(node, "axis", 1)) if axis is None else axis) % len(shape) if shape else 0
    block = int(attribute(node, "block_size", 0))
    if numbers.size == 1:
        return numbers.reshape(())
    if block:
        return numbers.repeat(block, axis=along).take(range(shape[along]), axis=along)
    return numbers.reshape([-1 if a == along else 1 for a in range(len(shape))])
