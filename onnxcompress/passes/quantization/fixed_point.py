"""Scales that are powers of two, and integers whose low bits are dropped: what fixed-point devices compute with."""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.truncate import covering_step

_TOLERANCE = 0.01  # octaves: a scale that rounding has moved off its power of two stays there


def power_of_two(scales: np.ndarray) -> np.ndarray:
    """The next power of two from each scale upwards, in the same type, so that no value is cut."""
    exponents = np.ceil(np.log2(scales.astype(np.float64)) - _TOLERANCE)
    return np.asarray(np.exp2(exponents), scales.dtype)


def fixed_point_range(low: float, high: float, levels: int, *, symmetric: bool) -> tuple[float, float]:
    """The smallest range around ``low..high`` whose grid has a power of two as its step, and zero among its points.

    Args:
        low: Smallest value to cover, at most 0.
        high: Largest value to cover, at least 0.
        levels: Grid points; the symmetric grid has one less.
        symmetric: Around zero.
    """
    if low == high:
        return low, high
    points = levels - 1 if symmetric else levels
    step = covering_step(low, high, points)
    first = -(points - 1) / 2 if symmetric else -np.ceil(np.round(-low / step, 9))
    return float(first * step), float((first + points - 1) * step)


def truncated(weight: np.ndarray, scales: np.ndarray, axis: int | None) -> np.ndarray:
    """The weight with everything below one step dropped, towards zero: a multiple of its scale.

    Args:
        weight: The weight.
        scales: One scale, or one for each index of `axis`.
        axis: Axis with one scale for each index; None for one scale.
    """
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = scales.astype(np.float64).reshape(shape)
    # A value that is a grid point but for float32's last bit keeps it.
    return np.asarray(np.trunc(np.round(weight / steps, 4)) * steps, weight.dtype)
