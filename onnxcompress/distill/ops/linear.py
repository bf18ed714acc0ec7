"""Matrix products and convolutions."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.table import OpNode, OpTable
from onnxcompress.distill.ops.windows import Window

OPS = OpTable()
CONV: dict[int, Any] = {1: nnf.conv1d, 2: nnf.conv2d, 3: nnf.conv3d}
_CONV_TRANSPOSE: dict[int, Any] = {1: nnf.conv_transpose1d, 2: nnf.conv_transpose2d, 3: nnf.conv_transpose3d}


@OPS.op("MatMul")
def matmul(node: OpNode, a: Any, b: Any) -> Any:
    """Numpy's matrix product."""
    return torch.matmul(a, b)


@OPS.op("com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
def fused_matmul(node: OpNode, a: Any, b: Any) -> Any:
    """Alpha A B, each transposed where asked for; `transBatch` takes the first axis for the rows."""
    a, b = (_transposed(node, i, side, t) for i, (side, t) in enumerate((("A", a), ("B", b))))
    return torch.matmul(a, b) * node.attr("alpha", 1.0)


def _transposed(node: OpNode, index: int, side: str, x: Any) -> Any:
    rank = node.rank(index)
    if node.attr(f"transBatch{side}", 0):
        x = torch.permute(x, [*range(1, rank - 1), 0, rank - 1])
    return x.transpose(-1, -2) if node.attr(f"trans{side}", 0) and rank > 1 else x


@OPS.op("com.microsoft::FusedGemm")
def fused_gemm(node: OpNode, a: Any, b: Any, c: Any = None) -> Any:
    """Gemm and an activation."""
    y, kind = gemm(node, a, b, c), node.attr("activation", "")
    if kind == "LeakyRelu":
        return nnf.leaky_relu(y, float(node.attr("activation_alpha", 0.01)))
    return _fused_activation(node, y)


@OPS.op("Gemm")
def gemm(node: OpNode, a: Any, b: Any, c: Any = None) -> Any:
    """Alpha A B + beta C."""
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    a = a.transpose(0, 1) if node.attr("transA", 0) else a
    fused = node.has(2) and node.rank(2) == 1 and alpha == beta == 1.0 and node.attr("transB", 0)
    if fused:
        return nnf.linear(a, b, c)
    product = torch.matmul(a, b.transpose(0, 1) if node.attr("transB", 0) else b)
    product = product if alpha == 1.0 else product * alpha
    if not node.has(2):
        return product
    return product + (c if beta == 1.0 else c * beta)


@OPS.op("Einsum")
def einsum(node: OpNode, *inputs: Any) -> Any:
    """Sum of products by its equation."""
    return torch.einsum(node.attr("equation").replace(" ", ""), *inputs)


@OPS.op("Det")
def det(node: OpNode, x: Any) -> Any:
    """Determinant of each matrix."""
    return torch.linalg.det(x)


@OPS.op("Conv", "com.microsoft::FusedConv")
def conv(node: OpNode, x: Any, w: Any, b: Any = None, z: Any = None) -> Any:
    """Convolution of one to three spatial axes."""
    window = Window.of(node, node.shape(1)[2:])
    symmetric = window.symmetric_pads()
    if symmetric is None:
        x, symmetric = nnf.pad(x, window.torch_pads()), [0] * window.rank
    group = int(node.attr("group", 1))
    function = CONV.get(window.rank)
    if function is None:
        raise node.refuse(f"it has {window.rank} spatial axes", "Use 1 to 3 spatial axes.")
    y = function(x, w, b, window.strides, symmetric, window.dilations, group)
    return _fused_activation(node, y if z is None else y + z)


def _fused_activation(node: OpNode, y: Any) -> Any:
    kind = node.attr("activation", "")
    if kind in ("", "Relu", "Tanh", "Sigmoid"):
        return {"": lambda v: v, "Relu": nnf.relu, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid}[kind](y)
    values = node.attr("activation_params", ())
    if kind == "LeakyRelu":
        return nnf.leaky_relu(y, values[0])
    if kind == "Clip":
        return torch.clamp(y, values[0], values[1])
    raise node.refuse(f"its fused activation is {kind}", "Start from the model before ONNX Runtime optimized it.")


@OPS.op("ConvTranspose")
def conv_transpose(node: OpNode, x: Any, w: Any, b: Any = None) -> Any:
    """Transposed convolution: computed without padding, then cut (ONNX's pads remove from the output)."""
    kernel = node.shape(1)[2:]
    window = Window.of(node, kernel, transposed=True)
    extra = [int(v) for v in node.attr("output_padding", [0] * window.rank)]
    # torch wants output_padding below the stride or the dilation; zeros appended after the product are the same.
    function = _CONV_TRANSPOSE.get(window.rank)
    if function is None:
        raise node.refuse(f"it has {window.rank} spatial axes", "Use 1 to 3 spatial axes.")
    y = function(x, w, None, window.strides, 0, 0, int(node.attr("group", 1)), window.dilations)
    ends = [e - p for e, p in zip(extra, window.end, strict=True)]
    cut = [v for begin, end in reversed(list(zip(window.begin, ends, strict=True))) for v in (-begin, end)]
    y = nnf.pad(y, cut) if any(cut) else y
    return y if not node.has(2) else y + b.reshape([1, -1] + [1] * window.rank)
