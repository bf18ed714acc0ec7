"""The range rule `mse`: the range whose integer grid gives the smallest mean squared error."""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets, FloatHistogram
from onnxcompress.calibrators.histogram import quantile
from onnxcompress.calibrators.uniform import bounds, uniform

_FACTORS = 0.98 ** np.arange(0, 140)  # down to 6 % of the largest value, and of what is left of it after each round


def mse(hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False) -> tuple[float, float]:
    """The range with the least squared error over the histogram: rounding inside, clipping outside.

    An element at a bucket's center c costs (c - grid(c))^2 + width^2 / 12; zeros cost nothing. Both ends are first
    shrunk together, then each alone. Values so large that 99.9 % of the others would round to zero beside them (a
    constant such as -1e9 in a mask, a glitch of 1e30) set no range: int8 cannot hold both.

    Args:
        hist: What was seen.
        levels: Grid points.
        symmetric: Give (-a, a); the grid then has ``levels - 1`` points.
    """
    found = hist.buckets()
    if not found.count.size:
        return uniform(hist, symmetric=symmetric)
    low, high = sane_bounds(hist, found, levels)
    if symmetric:
        largest = max(-low, high)
        found = _cut(found, -largest, largest)
        best = _best(found, -largest * _FACTORS, largest * _FACTORS, levels - 1)
        return bounds(*best, symmetric)
    found = _cut(found, low, high)
    best = _best(found, low * _FACTORS, high * _FACTORS, levels)
    for _ in range(2):
        best = _best(found, *_around(best, low, 0), levels)
        best = _best(found, *_around(best, high, 1), levels)
    return bounds(*best, symmetric)


def sane_bounds(hist: FloatHistogram, found: Buckets, levels: int) -> tuple[float, float]:
    """Smallest and largest value, without those beyond ``levels`` times the 99.9th percentile of the magnitude."""
    low, high = bounds(hist.low, hist.high, symmetric=False)
    typical = max(-quantile(found, 0.0005), quantile(found, 0.9995), 0.0)
    limit = levels * typical if typical else np.inf
    keep = (found.low >= -limit) & (found.high <= limit)
    if keep.all() or not keep.any():
        return low, high
    return min(0.0, float(found.low[keep].min())), max(0.0, float(found.high[keep].max()))


def squared_error(found: Buckets, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
    """Mean squared error of each range ``low[i]..high[i]`` of `levels` points whose grid contains zero."""
    step = np.maximum((high - low) / (levels - 1), np.finfo(np.float32).tiny)[:, None]
    first = np.round(low[:, None] / step)
    value = found.center[None, :]
    grid = np.clip(np.round(value / step), first, first + levels - 1) * step
    cost = (value - grid) ** 2 + found.width[None, :] ** 2 / 12
    return (cost @ found.count) / max(found.total, 1)


def _best(found: Buckets, low: np.ndarray, high: np.ndarray, levels: int) -> tuple[float, float]:
    """The first of the ranges with the least error."""
    costs = [squared_error(found, low[i : i + 16], high[i : i + 16], levels) for i in range(0, len(low), 16)]
    i = int(np.argmin(np.concatenate(costs)))
    return float(low[i]), float(high[i])


def _around(best: tuple[float, float], limit: float, end: int) -> tuple[np.ndarray, np.ndarray]:
    """`best` with one end replaced by every candidate between zero and `limit`."""
    moving = np.concatenate([[best[end]], limit * _FACTORS[:80]])
    still = np.full_like(moving, best[1 - end])
    return (moving, still) if end == 0 else (still, moving)


def _cut(found: Buckets, low: float, high: float) -> Buckets:
    keep = (found.low >= low) & (found.high <= high)
    return Buckets(found.low[keep], found.high[keep], found.count[keep], found.zeros)
