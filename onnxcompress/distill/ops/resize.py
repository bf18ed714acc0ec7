"""Resize along each axis on its own: nearest by index, linear and cubic by a small matrix of weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from onnxcompress.distill.ops.table import OpNode, OpTable

OPS = OpTable()


@OPS.op("Resize", "Upsample")
def resize(node: OpNode, x: Any, *_: Any) -> Any:
    """All of ONNX's coordinate and rounding modes but tf_crop_and_resize."""
    mode = node.attr("mode", "nearest")
    for axis, (size, new, scale) in enumerate(_sizes(node)):
        if size == new and scale == 1.0:
            continue
        where = _coordinates(node, size, new, scale)
        if mode == "nearest":
            x = torch.index_select(x, axis, node.lift(torch.as_tensor(_nearest(node, where, size))))
        else:
            _refuse_antialias(node, scale)
            weights = _linear(where, size) if mode == "linear" else _cubic(where, size, node)
            matrix = node.lift(torch.as_tensor(weights.T.copy()).to(node.dtypes[0]))
            x = torch.movedim(torch.matmul(torch.movedim(x, axis, -1), matrix), -1, axis)
    return x


def _sizes(node: OpNode) -> list[tuple[int, int, np.float32]]:
    """(size, new size, scale) of each axis, in single precision as ONNX Runtime has it: 10 times 0.7 are 7."""
    shape, old = node.shape(), node.op_type == "Upsample" or node.opset < 11
    scales_at = 1 if old else 2
    axes = [a % len(shape) for a in node.attr("axes") or range(len(shape))]
    if not old and node.has(3) and node.shape(3)[0]:
        wanted = _kept_aspect(node, shape, axes, node.ints(3))
        return [(s, *wanted.get(i, (s, np.float32(1)))) for i, s in enumerate(shape)]
    given = node.constant(scales_at).tolist() if node.has(scales_at) else node.attr("scales")
    scales = {axis: np.float32(scale) for axis, scale in zip(axes, given, strict=True)}
    found = [scales.get(i, np.float32(1)) for i in range(len(shape))]
    return [(s, math.floor(np.float32(s) * scale), scale) for s, scale in zip(shape, found, strict=True)]


def _kept_aspect(
    node: OpNode, shape: tuple[int, ...], axes: list[int], sizes: list[int]
) -> dict[int, tuple[int, np.float32]]:
    """New size and scale of the axes that change; one scale for all where the ratio of the sides is kept."""
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    ratios = [np.float32(n) / np.float32(shape[a]) for n, a in zip(sizes, axes, strict=True)]
    if policy == "stretch":
        return dict(zip(axes, zip(sizes, ratios, strict=True), strict=True))
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    return {a: (math.floor(np.float32(shape[a]) * scale + np.float32(0.5)), scale) for a in axes}


def _coordinates(node: OpNode, size: int, new: int, scale: np.float32) -> np.ndarray:
    """Where each output element lies in the input; single precision throughout, which decides ties."""
    old = node.op_type == "Upsample" or node.opset < 11
    mode = "asymmetric" if old else node.attr("coordinate_transformation_mode", "half_pixel")
    at, half = np.arange(new, dtype=np.float32), np.float32(0.5)
    if mode == "asymmetric":
        return at / scale
    if mode == "align_corners":
        return at * np.float32(size - 1) / np.float32(new - 1) if new > 1 else np.zeros(new, np.float32)
    if mode == "pytorch_half_pixel":
        return (at + half) / scale - half if new > 1 else np.zeros(new, np.float32)
    if mode == "half_pixel_symmetric":
        adjust = np.float32(new) / (scale * np.float32(size))
        return np.float32(size / 2) * (1 - adjust) + (at + half) / scale - half
    if mode == "half_pixel":
        return (at + half) / scale - half
    raise node.refuse(f"its coordinate mode is {mode}", "Cut the model before that node.")


def _nearest(node: OpNode, where: np.ndarray, size: int) -> np.ndarray:
    default = "floor" if node.op_type == "Upsample" or node.opset < 11 else "round_prefer_floor"
    mode = node.attr("nearest_mode", default)
    rounded = {
        "round_prefer_floor": lambda: np.ceil(where - 0.5),
        "round_prefer_ceil": lambda: np.floor(where + 0.5),
        "floor": lambda: np.floor(where),
        "ceil": lambda: np.ceil(where),
    }[mode]()
    return np.clip(rounded, 0, size - 1).astype(np.int64)


def _refuse_antialias(node: OpNode, scale: np.float32) -> None:
    if node.attr("antialias", 0) and scale < 1.0:
        raise node.refuse("it shrinks with antialias", "Cut the model before that node.")


def _linear(where: np.ndarray, size: int) -> np.ndarray:
    """Weights [new, size] of linear interpolation."""
    where = np.clip(where, 0, size - 1)
    low = np.floor(where).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    part = where - low
    weights = np.zeros((len(where), size))
    rows = np.arange(len(where))
    np.add.at(weights, (rows, low), 1 - part)
    np.add.at(weights, (rows, high), part)
    return weights


def _cubic(where: np.ndarray, size: int, node: OpNode) -> np.ndarray:
    """Weights [new, size] of Keys' cubic convolution; the edge repeats, or its taps drop out."""
    a, outside = float(node.attr("cubic_coeff_a", -0.75)), bool(node.attr("exclude_outside", 0))
    taps = np.floor(where)[:, None].astype(np.int64) + np.arange(-1, 3)[None]
    d = np.abs(where[:, None] - taps)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    w = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
    if outside:
        w = np.where((taps >= 0) & (taps < size), w, 0.0)
        w = w / w.sum(1, keepdims=True)
    weights = np.zeros((len(where), size))
    np.add.at(weights, (np.repeat(np.arange(len(where)), 4), np.clip(taps, 0, size - 1).ravel()), w.ravel())
    return weights
