"""From ranges to scales and integers.

A grid of scale s and zero point z stands for the values s (q - z). Everything is computed in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_LEAST_SCALE = 1e-20
"""Below this a range counts as zero: products of two such scales must not leave float32."""

_BLOCK = 1 << 22  # elements at a time

_GRIDS = {"uint8": (0, 255), "int8": (-128, 127)}


@dataclass(frozen=True)
class Grid:
    """Scale and zero point of one tensor.

    Attributes:
        scale: A scalar, or one for each channel; float32 or float16.
        zero: Same shape; uint8, int8 or int32.
    """

    scale: np.ndarray
    zero: np.ndarray


def activation_grid(
    low: float, high: float, dtype: str = "uint8", *, symmetric: bool = False, kind: np.dtype[Any] | None = None
) -> Grid:
    """The grid of an activation whose values lie in ``low..high`` (which contains zero).

    Args:
        low: Smallest value to cover.
        high: Largest value to cover.
        dtype: ``uint8`` or ``int8``.
        symmetric: Zero point 0; the grid is -127..127 of int8 then.
        kind: Float type of the tensor; float32 by default.
    """
    kind = np.dtype(np.float32) if kind is None else kind
    first, last = _GRIDS[dtype]
    if symmetric:
        scale = _settled(max(-low, high) / last, kind)
        return Grid(scale, np.array(0, dtype))
    scale = _settled((high - low) / (last - first), kind)
    zero = np.clip(np.round(first - low / float(scale)), first, last)
    return Grid(scale, np.array(zero, dtype))


def _settled(scale: float, kind: np.dtype[Any]) -> np.ndarray:
    """The scale in the tensor's type; 1 for a tensor that is always zero."""
    least = max(_LEAST_SCALE, float(np.finfo(kind).tiny))
    return np.array(scale if scale >= least else 1.0, kind)


def weight_scales(
    weight: np.ndarray, axis: int | None, *, limit: int = 127, clip: str = "none", floor: np.ndarray | None = None
) -> np.ndarray:
    """Symmetric scales of a weight, float32: one, or one for each index of `axis`.

    Args:
        weight: The weight.
        axis: Axis with one scale for each index; None for one scale.
        limit: Largest integer, 127 or 63 (7 bits).
        clip: ``none`` takes the largest magnitude; ``mse`` the clip with the least squared error in each channel.
        floor: Smallest scale allowed, per channel (see `bias.least_weight_scale`).
    """
    scales = _largest(weight, axis) / limit
    if clip == "mse":
        scales = _clipped(_rows(weight, axis), scales, limit)
    if floor is not None:
        scales = np.maximum(scales, floor)
    usual = scales[scales >= _LEAST_SCALE]
    scales = np.where(scales >= _LEAST_SCALE, scales, usual.max() if usual.size else 1.0)
    return scales.astype(np.float32) if axis is not None else scales.astype(np.float32).reshape(())


def _largest(weight: np.ndarray, axis: int | None) -> np.ndarray:
    """Largest magnitude in each channel, float64, without a copy of the weight."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    high, low = weight.max(axis=others, initial=0.0), weight.min(axis=others, initial=0.0)
    return np.maximum(high, -low).astype(np.float64).reshape(-1)


def _clipped(rows: np.ndarray, scales: np.ndarray, limit: int) -> np.ndarray:
    best, cost = scales, np.full(len(rows), np.inf)
    for factor in np.linspace(1.0, 0.6, 21):
        tried = np.maximum(scales * factor, _LEAST_SCALE)
        grid = np.clip(np.round(rows / tried[:, None]), -limit, limit) * tried[:, None]
        error = ((rows - grid) ** 2).sum(axis=1)
        best, cost = np.where(error < cost, tried, best), np.minimum(error, cost)
    return best


def _rows(weight: np.ndarray, axis: int | None) -> np.ndarray:
    """The weight in float64, one row for each scale."""
    wide = weight.astype(np.float64)
    return wide.reshape(1, -1) if axis is None else np.moveaxis(wide, axis, 0).reshape(wide.shape[axis], -1)


def quantized_weight(weight: np.ndarray, scales: np.ndarray, axis: int | None, *, limit: int = 127) -> np.ndarray:
    """The weight as int8, rounded to nearest; a block at a time, so that little more than the result is held."""
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = scales.astype(np.float32).reshape(shape)
    result = np.empty(weight.shape, np.int8)
    block = max(1, _BLOCK * len(weight) // max(1, weight.size)) if weight.ndim else 1
    if not weight.ndim:
        return np.clip(np.round(weight / steps), -limit, limit).astype(np.int8)
    for start in range(0, len(weight), block):
        part = slice(start, start + block)
        divisor = steps[part] if axis == 0 else steps
        result[part] = np.clip(np.round(weight[part].astype(np.float32) / divisor), -limit, limit)
    return result


def relative_error(weight: np.ndarray, numbers: np.ndarray, scales: np.ndarray, axis: int | None) -> float:
    """|w - s q| / |w| in Frobenius norms: what rounding changes; 0 for a weight of zeros. A block at a time.

    Args:
        weight: The weight w.
        numbers: The integers q, of the same shape.
        scales: One scale s, or one for each index of `axis`.
        axis: Axis with one scale for each index; None for one scale.
    """
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = scales.astype(np.float64).reshape(shape)
    block = max(1, _BLOCK * len(weight) // max(1, weight.size)) if weight.ndim else 1
    lost = total = 0.0
    for start in range(0, len(weight) if weight.ndim else 1, block):
        part = slice(start, start + block) if weight.ndim else ()
        wide = weight[part].astype(np.float64)
        lost += float(((wide - numbers[part] * (steps[part] if axis == 0 else steps)) ** 2).sum())
        total += float((wide**2).sum())
    return float(np.sqrt(lost / total)) if total else 0.0
