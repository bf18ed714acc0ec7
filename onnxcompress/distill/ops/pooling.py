"""Pooling over windows and over all spatial axes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.linear import CONV
from onnxcompress.distill.ops.table import OpNode, OpTable, call
from onnxcompress.distill.ops.windows import Window

OPS = OpTable()
_MAX: dict[int, Any] = {1: nnf.max_pool1d, 2: nnf.max_pool2d, 3: nnf.max_pool3d}
_AVERAGE: dict[int, Any] = {1: nnf.avg_pool1d, 2: nnf.avg_pool2d, 3: nnf.avg_pool3d}


@OPS.op("MaxPool")
def max_pool(node: OpNode, x: Any) -> Any:
    """Largest element of each window."""
    window = Window.of(node, tuple(int(v) for v in node.attr("kernel_shape")))
    if node.outputs > 1:
        both = call(_max_and_places, x, window, bool(node.attr("storage_order", 0)))
        return both[0], both[1]
    pads = window.symmetric_pads()
    if pads is None or any(2 * p > k for p, k in zip(pads, window.kernel, strict=True)):
        x, pads = nnf.pad(x, window.torch_pads(), value=-math.inf), [0] * window.rank
    return _MAX[window.rank](x, window.kernel, window.strides, pads, window.dilations)


def _max_and_places(x: torch.Tensor, window: Window, columns: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Maxima, and their places in the flattened input, row by row or column by column."""
    wide, sizes = nnf.pad(x, window.torch_pads(), value=-math.inf), list(x.shape[2:])
    found, places = _MAX[window.rank](
        wide, window.kernel, window.strides, 0, window.dilations, return_indices=True
    )  # fmt: skip
    at, step = torch.zeros_like(places), 1
    coordinates = torch.unravel_index(places, wide.shape[2:])
    for axis in range(window.rank) if columns else reversed(range(window.rank)):
        at = at + (coordinates[axis] - window.begin[axis]) * step
        step *= sizes[axis]
    planes = torch.arange(x.shape[0] * x.shape[1], device=x.device) * step
    return found, at + planes.reshape([*x.shape[:2], *[1] * window.rank])


@OPS.op("MaxUnpool")
def max_unpool(node: OpNode, x: Any, places: Any, *_shape: Any) -> Any:
    """Elements back to the places that they came from, zeros elsewhere."""
    kernel = [int(v) for v in node.attr("kernel_shape")]
    strides = [int(v) for v in node.attr("strides") or [1] * len(kernel)]
    pads = [int(v) for v in node.attr("pads") or [0] * 2 * len(kernel)]
    lost = [a + b for a, b in zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)]
    sizes = [(n - 1) * s - p + k for n, s, p, k in zip(node.shape()[2:], strides, lost, kernel, strict=True)]
    shape = node.ints(2) if node.has(2) else [*node.shape()[:2], *sizes]
    return call(_put_back, x, places, shape)


def _put_back(x: torch.Tensor, places: torch.Tensor, shape: list[int]) -> torch.Tensor:
    empty = x.new_zeros(math.prod(shape))
    return empty.scatter(0, places.reshape(-1), x.reshape(-1)).reshape(shape)


@OPS.op("AveragePool")
def average_pool(node: OpNode, x: Any) -> Any:
    """Mean of each window: the sum over the padded input, divided by the number of elements that count."""
    window = Window.of(node, tuple(int(v) for v in node.attr("kernel_shape")))
    include, pads = bool(node.attr("count_include_pad", 0)), window.symmetric_pads()
    if not _dilated(window) and pads is not None and all(2 * p <= k for p, k in zip(pads, window.kernel, strict=True)):
        return _AVERAGE[window.rank](x, window.kernel, window.strides, pads, False, include)
    mean = _mean(nnf.pad(x, window.torch_pads()), window)
    return mean * node.lift(_share(node, window, include))


def _share(node: OpNode, window: Window, include: bool) -> torch.Tensor:
    """Elements of the kernel for each element that counts, by window."""
    ones = torch.ones((1, 1, *node.shape()[2:]), dtype=node.dtypes[0])
    if include:
        ones = nnf.pad(ones, window.torch_pads(spill=False), value=1.0)
        spill = [v for s in reversed(window.spill) for v in (0, s)]
        ones = nnf.pad(ones, spill)
    else:
        ones = nnf.pad(ones, window.torch_pads())
    return 1.0 / _mean(ones, window)


def _dilated(window: Window) -> bool:
    return any(d != 1 for d in window.dilations)


def _mean(x: Any, window: Window) -> Any:
    """Mean over each window of what is already padded."""
    if not _dilated(window):
        return _AVERAGE[window.rank](x, window.kernel, window.strides)
    return call(_dilated_mean, x, window.kernel, window.strides, window.dilations)


def _dilated_mean(
    x: torch.Tensor, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> torch.Tensor:
    """By a convolution of each channel on its own."""
    weight = torch.full((1, 1, *kernel), 1 / math.prod(kernel), dtype=x.dtype, device=x.device)
    planes = x.reshape(-1, 1, *x.shape[2:])
    y = CONV[len(kernel)](planes, weight, None, strides, 0, dilations)
    return y.reshape(*x.shape[:2], *y.shape[2:])


@OPS.op("GlobalAveragePool", "GlobalMaxPool")
def global_pool(node: OpNode, x: Any) -> Any:
    """Mean or maximum over all spatial axes, which stay as 1."""
    axes = list(range(2, node.rank()))
    return torch.mean(x, axes, True) if node.op_type == "GlobalAveragePool" else torch.amax(x, axes, True)


@OPS.op("LpPool", "GlobalLpPool")
def lp_pool(node: OpNode, x: Any) -> Any:
    """(sum |x|^p)^(1/p) over windows or all spatial axes."""
    p = float(node.attr("p", 2))
    powered = torch.pow(torch.abs(x), p)
    if node.op_type == "GlobalLpPool":
        return torch.pow(torch.sum(powered, list(range(2, node.rank())), True), 1 / p)
    window = Window.of(node, tuple(int(v) for v in node.attr("kernel_shape")))
    mean = _mean(nnf.pad(powered, window.torch_pads()), window)
    return torch.pow(mean * math.prod(window.kernel), 1 / p)
