"""Values read between the pixels: GridSample and RoiAlign."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf

from onnxcompress.distill.ops.table import OpNode, OpTable, call

OPS = OpTable()
_HINT = "Cut the model before that node."
# Opset 20 renamed the modes of opset 16.
_MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}


@OPS.op("GridSample", "com.microsoft::GridSample")
def grid_sample(node: OpNode, x: Any, grid: Any) -> Any:
    """X at the places that `grid` names in -1..1."""
    mode = _MODES.get(node.attr("mode", "bilinear"))
    if node.rank() not in (4, 5):
        raise node.refuse(f"its input has {node.rank()} axes", "Use 2 or 3 spatial axes.")
    if mode is None or (mode == "bicubic" and node.rank() == 5):
        raise node.refuse(f"its mode is {node.attr('mode')} on {node.rank()} axes", _HINT)
    return nnf.grid_sample(x, grid, mode, node.attr("padding_mode", "zeros"), bool(node.attr("align_corners", 0)))


@OPS.op("RoiAlign")
def roi_align(node: OpNode, x: Any, rois: Any, batch: Any) -> Any:
    """Mean (or maximum) of bilinear samples in each bin of each region; the regions get no gradient."""
    half = node.attr("coordinate_transformation_mode", "half_pixel" if node.opset >= 16 else "") == "half_pixel"
    settings = {
        "size": (int(node.attr("output_height", 1)), int(node.attr("output_width", 1))),
        "ratio": int(node.attr("sampling_ratio", 0)),
        "scale": float(node.attr("spatial_scale", 1.0)),
        "half": half,
        "largest": node.attr("mode", "avg") == "max",
    }
    return call(_roi_align, x, rois, batch, **settings)


def _roi_align(
    x: torch.Tensor,
    rois: torch.Tensor,
    batch: torch.Tensor,
    *,
    size: tuple[int, int],
    ratio: int,
    scale: float,
    half: bool,
    largest: bool,
) -> torch.Tensor:
    made = [x.new_zeros((0, x.shape[1], *size))]
    # In float32 like ONNX Runtime: the number of samples is a ceiling, which the last bit can move.
    corners = rois.detach().to("cpu", torch.float32) * scale - (0.5 if half else 0.0)
    for box, index in zip(corners.cpu().numpy(), batch.tolist(), strict=True):
        sides = [_neighbours(box[1 - a], box[3 - a], size[a], x.shape[2 + a], ratio, half) for a in (0, 1)]
        made.append(_pooled(x[index], sides[0], sides[1], size, largest)[None])
    return torch.cat(made)


_Side = list[tuple[torch.Tensor, torch.Tensor]]


def _neighbours(start: np.float32, end: np.float32, bins: int, size: int, ratio: int, half: bool) -> _Side:
    """(place, weight) of the lower and of the upper neighbour of each sample along one axis."""
    length = end - start if half else max(end - start, np.float32(1))
    count = ratio or max(math.ceil(length / np.float32(bins)), 0)
    at = torch.arange(bins * count, dtype=torch.float64)
    at = float(start) + (at + 0.5) * (float(length) / bins / max(count, 1))
    inside = (at >= -1) & (at <= size)
    at = at.clamp(0, size - 1)
    low = torch.floor(at).to(torch.int64)
    part = at - low
    return [(low, (1 - part) * inside), ((low + 1).clamp(max=size - 1), part * inside)]


def _pooled(plane: torch.Tensor, rows: _Side, columns: _Side, size: tuple[int, int], largest: bool) -> torch.Tensor:
    """One region; the maximum is taken over weighted neighbours, as ONNX defines it."""
    parts = [_corner(plane, row, column) for row in rows for column in columns]
    if not parts[0].numel():
        return plane.new_zeros((len(plane), *size))
    joined = torch.stack(parts).amax(0) if largest else torch.stack(parts).sum(0)
    bins = joined.reshape(len(plane), size[0], -1, size[1], joined.shape[2] // size[1])
    return bins.amax((2, 4)) if largest else bins.mean((2, 4))


def _corner(plane: torch.Tensor, row: Any, column: Any) -> torch.Tensor:
    (y, high), (x, wide) = ((at.to(plane.device), weight.to(plane)) for at, weight in (row, column))
    return plane[:, y][:, :, x] * (high[:, None] * wide)
