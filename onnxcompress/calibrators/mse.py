"""The range rule `mse`: the range whose integer grid gives the smallest mean squared error."""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets, FloatHistogram
from onnxcompress.calibrators.grid_error import GridError
from onnxcompress.calibrators.histogram import quantile
from onnxcompress.calibrators.uniform import bounds, uniform

_COARSE = 0.94 ** np.arange(46)  # down to 6 % of the largest value; each end then down to 20 % of that again
_FINE = 0.94 ** (np.arange(-7, 8) / 8)  # between the neighbours of the best of those


def mse(hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False) -> tuple[float, float]:
    """The range with the least squared error over the histogram: rounding inside, clipping outside.

    An element at a bucket's center c costs (c - grid(c))^2 + width^2 / 12; zeros cost nothing (`GridError`). Both ends
    are first shrunk together, then each alone, in steps of 6 % and then of 0.8 %. Values so large that 99.9 % of the
    others would round to zero beside them (a constant such as -1e9 in a mask, a glitch of 1e30) set no range: int8
    cannot hold both.

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
        high = max(-low, high)
        low, levels = -high, levels - 1
    search = _Search(GridError(cut(found, low, high)), low, high, levels)
    best = search.together()
    if not symmetric and low < 0 < high:
        best = search.alone(search.alone(best, 0), 1)
        best = search.alone(search.alone(best, 0), 1)
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


def cut(found: Buckets, low: float, high: float) -> Buckets:
    """The buckets inside ``low..high``."""
    keep = (found.low >= low) & (found.high <= high)
    return Buckets(found.low[keep], found.high[keep], found.count[keep], found.zeros)


class _Search:
    """Ranges by factors of the largest one, coarse and then fine. Of equal errors the first one wins."""

    def __init__(self, error: GridError, low: float, high: float, levels: int) -> None:
        self._error, self._ends, self._levels = error, (low, high), levels

    def together(self) -> tuple[float, float]:
        """Both ends shrunk by one factor."""
        low, high = self._ends
        at = self._best(low * _COARSE, high * _COARSE)
        factors = _inside(_COARSE[at] * _FINE)
        at = self._best(low * factors, high * factors)
        return low * float(factors[at]), high * float(factors[at])

    def alone(self, best: tuple[float, float], end: int) -> tuple[float, float]:
        """One end moved between zero and its limit, the other as it is."""
        if not self._ends[end]:
            return best
        factors = np.concatenate([[best[end] / self._ends[end]], _COARSE[:27]])
        at = self._best(*self._moved(best, end, factors))
        factors = _inside(factors[at] * _FINE)
        at = self._best(*self._moved(best, end, factors))
        moved = float(factors[at]) * self._ends[end]
        return (moved, best[1]) if end == 0 else (best[0], moved)

    def _moved(self, best: tuple[float, float], end: int, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moving, still = self._ends[end] * factors, np.full_like(factors, best[1 - end])
        return (moving, still) if end == 0 else (still, moving)

    def _best(self, low: np.ndarray, high: np.ndarray) -> int:
        return int(np.argmin(self._error(low, high, self._levels)))


def _inside(factors: np.ndarray) -> np.ndarray:
    """The middle one (the best so far) first, none beyond the limit."""
    middle = factors[len(factors) // 2]
    return np.concatenate([[middle], np.unique(np.minimum(factors, 1.0))[::-1]])
