"""A histogram of magnitudes that needs no range in advance and merges by adding: the bucket is the float's top bits.

bucket(w) = bits(|float32(w)|) >> 15: exponent and 8 mantissa bits, so that a bucket is 0.4 % wide. Thresholds:

* cumulative: the edge t at which the mass below, C(t) / C(inf), comes nearest to the sparsity s asked for;
* valley: on B equal bins of |w| over [0, max], smoothed over five, let p be the first local maximum and q the highest
  bin after the lowest one beyond p. Where that lowest bin v between them is under half of both, the weights form a heap
  at zero and another one, and t is the edge of v, if C(t) <= s; else t is the cumulative one.
"""

from __future__ import annotations

import numpy as np

BINS = 64
_SHIFT = 15
_SIZE = 1 << 16


def empty() -> np.ndarray:
    """A histogram of nothing."""
    return np.zeros(_SIZE, np.int64)


def magnitudes(weights: np.ndarray) -> np.ndarray:
    """How many weights fall into each bucket, any float type."""
    bits = np.abs(weights.astype(np.float32)).ravel().view(np.uint32) >> _SHIFT
    return np.bincount(bits, minlength=_SIZE)


def edges() -> np.ndarray:
    """The lower edge of every bucket, ascending; those beyond infinity are NaN."""
    return (np.arange(_SIZE, dtype=np.uint32) << _SHIFT).view(np.float32)


def cumulative(histogram: np.ndarray, sparsity: float) -> float:
    """The threshold below which a fraction nearest to `sparsity` lies."""
    below = np.concatenate([[0], np.cumsum(histogram)])[:-1]
    total = int(histogram.sum())
    finite = np.isfinite(edges())
    nearest = int(np.argmin(np.abs(below[finite] - sparsity * total)))
    return float(edges()[nearest])


def valley(histogram: np.ndarray, sparsity: float) -> float:
    """The threshold at the first valley, or the cumulative one where there is none at a mass of at most `sparsity`."""
    low = edges()
    used = np.flatnonzero((histogram > 0) & np.isfinite(low))
    limit = cumulative(histogram, sparsity)
    if len(used) < 2:
        return limit
    counts, bounds = np.histogram(low[used], bins=BINS, range=(0.0, float(low[used[-1]])), weights=histogram[used])
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    rising = np.flatnonzero(np.diff(smooth) < 0)
    if not len(rising) or rising[0] >= BINS - 2:
        return limit
    peak = int(rising[0])
    after = smooth[peak + 1 :]
    best = int(np.argmax(after - np.minimum.accumulate(after)))
    lowest = int(np.argmin(after[: best + 1]))
    if 2 * after[lowest] > min(smooth[peak], after[best]):
        return limit
    return min(limit, float(bounds[peak + 1 + lowest]))
