"""QuantizeLinear and DequantizeLinear as fake quantization; a scale that is trained comes as an input."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from onnxcompress.distill.fake_quant import along, from_grid, to_grid
from onnxcompress.distill.ops.dtypes import QUANT_RANGE
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()


@OPS.op("QuantizeLinear", "com.microsoft::QuantizeLinear")
def quantize(node: OpNode, x: Any, scale: Any, zero: Any = None) -> Any:
    """Grid indices as floats; the grid's type is in the attribute that the bridge adds."""
    low, high = QUANT_RANGE.get(int(node.attr("grid_type", ir.DataType.UINT8)), (None, None))
    if low is None:
        raise node.refuse("it quantizes to a floating-point grid", "Distill the model before that quantization.")
    return call(to_grid, x, *_parameters(node, scale, zero), low, high)


@OPS.op("DequantizeLinear", "com.microsoft::DequantizeLinear")
def dequantize(node: OpNode, q: Any, scale: Any, zero: Any = None) -> Any:
    """Values of grid indices."""
    if not node.is_float(0):
        q = q.to(node.dtypes[1])
    return call(from_grid, q, *_parameters(node, scale, zero))


def _parameters(node: OpNode, scale: Any, zero: Any) -> tuple[Any, Any]:
    """Scale and zero point, laid out to broadcast against input 0."""
    return _laid(node, 1, scale), _laid(node, 2, zero)


def _laid(node: OpNode, index: int, given: Any) -> Any:
    """What is known is laid out at once; a trained scale, or one that the samples make, at each step."""
    dtype = node.dtypes[1]
    assert dtype is not None
    layout = (node.shape(), int(node.attr("axis", 1)), int(node.attr("block_size", 0)))
    known = node.constants[index] if node.has(index) else torch.zeros((), dtype=dtype)
    return call(along, given, *layout) if known is None else node.lift(along(known.to(dtype), *layout))


@OPS.op("DynamicQuantizeLinear")
def dynamic_quantize(node: OpNode, x: Any) -> Any:
    """uint8 grid indices, scale and zero point from the batch's own range."""
    found = call(to_own_grid, x)
    return found[0], found[1], found[2]


def to_own_grid(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """uint8 grid indices, scale and zero point of the range that x has, 0 included."""
    with torch.no_grad():
        high, low = x.max().clamp(min=0), x.min().clamp(max=0)
        spread = (high - low) / 255
        scale = torch.where(spread > 0, spread, torch.ones_like(spread))
        zero = torch.round(-low / scale).clamp(0, 255)
    return to_grid(x, scale, zero, 0, 255), scale, zero
