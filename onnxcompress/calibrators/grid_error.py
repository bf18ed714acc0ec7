"""The squared error of integer grids over a histogram, exact for the buckets' centers, in O(levels) for each grid.

A grid of step s has the points g_k = s (f + k), k = 0..L-1; point k stands for the values between s (f + k - 1/2) and
s (f + k + 1/2), the first and last one for everything beyond. With the prefix sums S0, S1, S2 of n, n c and
n (c^2 + w^2 / 12) over the buckets (count n, center c, width w), cell k costs

    sum n ((c - g_k)^2 + w^2 / 12) = S2 - 2 g_k S1 + g_k^2 S0

so a grid takes L look-ups of a cell's edge, whatever the number of buckets. Dropping the low bits instead of rounding
to nearest moves a cell to s (f + k) .. s (f + k + 1), towards zero on either side. Where the grid is finer than the
buckets (16 bits) nothing is known below a bucket, and rounding inside costs s^2 / 12, or s^2 / 3 where low bits are
dropped.
"""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets

_FINE = 4096  # levels beyond which cells are narrower than buckets
_CHUNK = 1 << 16  # cell edges at a time


class GridError:
    """Mean squared errors of grids over one histogram.

    Args:
        found: The buckets.
        truncate: Low bits are dropped (towards zero), not rounded to nearest.
    """

    def __init__(self, found: Buckets, *, truncate: bool = False) -> None:
        self._center, self._total, self._truncate = found.center, max(found.total, 1), truncate
        count = found.count.astype(np.float64)
        square = self._center**2 + found.width**2 / 12
        self._sums = [_prefix(term) for term in (count, count * self._center, count * square)]

    def __call__(self, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
        """Error of each range ``low[i]..high[i]`` of `levels` points whose grid contains zero; float64."""
        step = np.maximum((high - low) / (levels - 1), np.finfo(np.float32).tiny)
        first = np.round(low / step)
        if levels > _FINE:
            return self._fine(step, first, levels)
        size = max(1, _CHUNK // levels)
        parts = [self._cells(step[i : i + size], first[i : i + size], levels) for i in range(0, len(step), size)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _cells(self, step: np.ndarray, first: np.ndarray, levels: int) -> np.ndarray:
        place = first[:, None] + np.arange(levels)[None, :]
        points, upper = place * step[:, None], place[:, :-1]
        upper = upper + (np.where(upper >= 0, 1.0, 0.0) if self._truncate else 0.5)
        cuts = np.zeros((len(step), levels + 1), np.int64)
        cuts[:, 1:-1] = np.searchsorted(self._center, upper * step[:, None])
        cuts[:, -1] = len(self._center)
        s0, s1, s2 = (np.diff(total[cuts], axis=1) for total in self._sums)
        return np.maximum((s2 - 2 * points * s1 + points**2 * s0).sum(axis=1), 0.0) / self._total

    def _fine(self, step: np.ndarray, first: np.ndarray, levels: int) -> np.ndarray:
        low, high = first * step, (first + levels - 1) * step
        cuts = np.stack([np.zeros_like(low), *(np.searchsorted(self._center, end) for end in (low, high))]).astype(int)
        ends = np.concatenate([cuts, np.full((1, len(step)), len(self._center))])
        s0, s1, s2 = (np.diff(total[ends], axis=0) for total in self._sums)
        beyond = sum(s2[i] - 2 * edge * s1[i] + edge**2 * s0[i] for i, edge in ((0, low), (2, high)))
        return np.maximum(beyond + s0[1] * step**2 / (3 if self._truncate else 12), 0.0) / self._total


def _prefix(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(values)])
