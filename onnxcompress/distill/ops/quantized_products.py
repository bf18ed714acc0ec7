"""Matrix products and convolutions of integers, as the same products of grid indices carried by floats.

    y = Q((q_x - z_x) * (q_w - z_w) s_x s_w)

The products are exact up to 2^24; rounding back to the grid has the straight-through gradient of fake quantization.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.fake_quant import to_grid
from onnxcompress.distill.ops.dtypes import QUANT_RANGE
from onnxcompress.distill.ops.linear import conv
from onnxcompress.distill.ops.quantization import to_own_grid
from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_HINT = "Cut the model before that node, or distill the model before its quantization."


def limits(node: OpNode, zero: int, like: int = 0) -> tuple[int, int]:
    """The grid that the zero point's type names; `like`'s where there is no zero point."""
    place = zero if node.has(zero) else like
    kind = node.kinds[place] if place < len(node.kinds) else None
    if kind not in QUANT_RANGE:
        raise node.refuse(
            f"the integer type of its input {place} is not known", "Run onnx.shape_inference on the model."
        )
    return QUANT_RANGE[kind]


def scalar(node: OpNode, index: int) -> None:
    """Refuse a scale or zero point of several numbers where only one is handled."""
    if node.has(index) and math.prod(node.shape(index)) != 1:
        raise node.refuse(f"its input {index} holds several numbers", _HINT)


def centred(node: OpNode, index: int, zero: int, q: Any, z: Any, shape: list[int]) -> Any:
    """Grid indices as float32 without their zero point, which is laid out as `shape` where it has several numbers."""
    q = q if node.is_float(index) else q.to(torch.float32)
    if not node.has(zero):
        return q
    z = z.to(torch.float32)
    return q - z.reshape([] if math.prod(node.shape(zero)) == 1 else shape)


def _columns(node: OpNode, index: int, given: Any, shape: list[int]) -> Any:
    """A scale of one number, or of one for each output channel."""
    if node.rank(index) > 1 and math.prod(node.shape(index)) != 1:
        raise node.refuse(f"its input {index} has {node.rank(index)} axes", _HINT)
    return given.reshape([] if math.prod(node.shape(index)) == 1 else shape)


def _rounded(node: OpNode, value: Any, scale: Any, zero: Any, places: tuple[int, int]) -> Any:
    for place in places:
        scalar(node, place)
    zero = zero.to(torch.float32).reshape([]) if node.has(places[1]) else node.lift(torch.zeros(()))
    return call(to_grid, value, scale.reshape([]), zero, *limits(node, places[1]))


def _beside(node: OpNode, *places: int) -> OpNode:
    """The same node with these inputs alone, as floats: what a float op reads from it."""
    floats = tuple(torch.float32 for _ in places)
    known = tuple(None for _ in places)
    return replace(node, shapes=tuple(node.shape(i) for i in places), dtypes=floats, constants=known)


def _channels(node: OpNode, index: int) -> list[int]:
    """How one number for each output channel lies in a result of that many spatial axes."""
    return [-1] + [1] * (node.rank(index) - 2)


@OPS.op("MatMulInteger", "com.microsoft::MatMulInteger16")
def matmul_integer(node: OpNode, a: Any, b: Any, a_zero: Any = None, b_zero: Any = None) -> Any:
    """Products of grid indices without their zero points; A has one for each row, B one for each column, or one."""
    if node.has(2) and node.rank(2) < 2:
        scalar(node, 2)
    rows = list(node.shape(2)) if node.has(2) else []
    columns = list(node.shape(3)) if node.has(3) and node.rank(3) > 1 else [-1]
    return torch.matmul(centred(node, 0, 2, a, a_zero, rows), centred(node, 1, 3, b, b_zero, columns))


@OPS.op("ConvInteger")
def conv_integer(node: OpNode, x: Any, w: Any, x_zero: Any = None, w_zero: Any = None) -> Any:
    """Convolution of grid indices without their zero points."""
    scalar(node, 2)
    kernel = [-1] + [1] * (node.rank(1) - 1)
    x, w = centred(node, 0, 2, x, x_zero, []), centred(node, 1, 3, w, w_zero, kernel)
    return conv(_beside(node, 0, 1), x, w)


@OPS.op("QLinearConv", "com.microsoft::QLinearConv")
def qlinear_conv(
    node: OpNode, x: Any, sx: Any, zx: Any, w: Any, sw: Any, zw: Any, sy: Any, zy: Any, bias: Any = None
) -> Any:
    """Convolution, int32 bias and rounding to the output's grid; weights have one scale, or one for each channel."""
    if node.attr("channels_last", 0):
        raise node.refuse("its channels come last", _HINT)
    scalar(node, 1)
    scalar(node, 2)
    channels = _channels(node, 3)
    x, w = centred(node, 0, 2, x, zx, []), centred(node, 3, 5, w, zw, [*channels, 1])
    y = conv(_beside(node, 0, 3), x, w)
    if node.has(8):
        y = y + bias.to(torch.float32).reshape(channels)
    value = y * (sx.reshape([]) * _columns(node, 4, sw, channels))
    return _rounded(node, value, sy, zy, (6, 7))


@OPS.op("QLinearMatMul")
def qlinear_matmul(node: OpNode, a: Any, sa: Any, za: Any, b: Any, sb: Any, zb: Any, sy: Any, zy: Any) -> Any:
    """Matrix product and rounding to the output's grid; B has one scale, or one for each column."""
    scalar(node, 1)
    scalar(node, 2)
    product = torch.matmul(centred(node, 0, 2, a, za, []), centred(node, 3, 5, b, zb, [-1]))
    return _rounded(node, product * (sa.reshape([]) * _columns(node, 4, sb, [-1])), sy, zy, (6, 7))


@OPS.op("com.microsoft::QGemm")
def qgemm(
    node: OpNode,
    a: Any,
    sa: Any,
    za: Any,
    b: Any,
    sb: Any,
    zb: Any,
    c: Any = None,
    sy: Any = None,
    zy: Any = None,
) -> Any:
    """Alpha s_a s_b (A B + C), rounded where an output scale is given."""
    scalar(node, 1)
    scalar(node, 2)
    across = [-1, 1] if node.attr("transB", 0) else [-1]
    a, b = centred(node, 0, 2, a, za, []), centred(node, 3, 5, b, zb, across)
    a = a.transpose(0, 1) if node.attr("transA", 0) else a
    product = torch.matmul(a, b.transpose(0, 1) if node.attr("transB", 0) else b)
    product = product + c.to(torch.float32) if node.has(6) else product
    value = product * (sa.reshape([]) * _columns(node, 4, sb, [-1]) * float(node.attr("alpha", 1.0)))
    return _rounded(node, value, sy, zy, (7, 8)) if node.has(7) else value


@OPS.op("com.microsoft::MatMulIntegerToFloat")
def matmul_integer_to_float(
    node: OpNode, a: Any, b: Any, sa: Any, sb: Any, za: Any = None, zb: Any = None, bias: Any = None
) -> Any:
    """The product of two integer matrices as floats."""
    scalar(node, 2)
    scalar(node, 4)
    product = torch.matmul(centred(node, 0, 4, a, za, []), centred(node, 1, 5, b, zb, [-1]))
    value = product * (sa.reshape([]) * _columns(node, 3, sb, [-1]))
    return value + bias if node.has(6) else value


@OPS.op("com.microsoft::DynamicQuantizeMatMul")
def dynamic_quantize_matmul(node: OpNode, a: Any, b: Any, sb: Any, zb: Any = None, bias: Any = None) -> Any:
    """A on the grid of its own range, times an integer matrix."""
    found = call(to_own_grid, a)
    product = torch.matmul(found[0] - found[2], centred(node, 1, 3, b, zb, [-1]))
    value = product * (found[1] * _columns(node, 2, sb, [-1]))
    return value + bias if node.has(4) else value


@OPS.op("com.microsoft::MatMulNBits")
def matmul_nbits(
    node: OpNode, a: Any, b: Any, scales: Any, zeros: Any = None, order: Any = None, bias: Any = None
) -> Any:
    """A W^T, W packed in blocks of 2, 4 or 8 bits along its rows."""
    bits, block = int(node.attr("bits", 4)), int(node.attr("block_size", 0))
    found = {"it has g_idx": node.has(4), "its weight is prepacked": node.attr("weight_prepacked", 0)}
    for why, so in {**found, f"it has {bits} bits": bits not in (2, 4, 8)}.items():
        if so:
            raise node.refuse(why, _HINT)
    sizes = (int(node.attr("N")), int(node.attr("K")))
    settings = (bits, block, sizes, node.has(3) and not node.is_float(3))
    parts = [node.constants[i] for i in (1, 2, 3) if node.has(i)]
    if all(part is not None for part in parts):
        weight = node.lift(unpacked(parts[0], parts[1], parts[2] if node.has(3) else None, *settings))
    else:
        weight = call(unpacked, b, scales, zeros, *settings)
    return nnf.linear(a, weight, bias)


def unpacked(
    b: Any, scales: Any, zeros: Any, bits: int, block: int, sizes: tuple[int, int], packed: bool
) -> torch.Tensor:
    """The weight [N, K] of MatMulNBits; the zero point is 2^(bits - 1) where none is given."""
    rows, columns = sizes
    blocks = math.ceil(columns / block)
    # A weight that is trained comes as indices, one an element.
    spread = b if b.is_floating_point() else _spread(b.reshape(rows, -1), bits)[:, : blocks * block]
    index = spread.reshape(rows, blocks, block)
    scale = scales.reshape(rows, blocks, 1)
    zero: Any = float(2 ** (bits - 1))
    if zeros is not None:
        laid = _spread(zeros.reshape(rows, -1), bits)[:, :blocks] if packed else zeros
        zero = laid.reshape(rows, blocks, 1)
    return ((index.to(scale.dtype) - zero) * scale).reshape(rows, -1)[:, :columns]


def _spread(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Numbers of `bits` bits out of bytes, lowest bits first."""
    parts = [torch.bitwise_and(codes >> shift, 2**bits - 1) for shift in range(0, 8, bits)]
    return torch.stack(parts, -1).reshape(len(codes), -1)
