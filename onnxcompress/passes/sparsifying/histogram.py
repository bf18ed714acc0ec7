"""The method `histogram`: where to cut is read from the histogram that calibration uses.

The magnitudes' histogram is that of the float's own top bits (`onnxcompress.calibrators.float_histogram`), both signs
folded together; its edges, 0.2 to 0.4 % apart, are the thresholds to choose from. Let C(t) be the share of weights
below t and s the sparsity asked for.

* percentile: the largest edge t with C(t) <= s.
* valley: on B equal bins of |w| over [0, max], smoothed over five, let p be the first local maximum and q the highest
  bin after the lowest one beyond p. Where that lowest bin v between them is under half of both, the weights form a heap
  at zero and another one, and t is the edge at v, if C(t) <= s; else t is that of the percentile.
"""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets, FloatHistogram
from onnxcompress.calibrators.histogram import folded

BINS = 64


def count_below(weights: np.ndarray, sparsity: float, cut: str) -> tuple[int, bool]:
    """How many weights lie below the threshold, and whether a valley told it.

    Args:
        weights: Any shape, any float type, finite.
        sparsity: The most that may go, in [0, 1).
        cut: ``valley`` or ``percentile``.
    """
    counted = FloatHistogram()
    counted.update(weights)
    found = folded(counted.buckets())
    below = found.zeros + np.cumsum(found.count) - found.count
    allowed = int(np.searchsorted(below, sparsity * weights.size + 1e-6, side="right")) - 1
    lowest = _valley(found) if cut == "valley" else None
    if lowest is not None:
        at = int(np.searchsorted(found.low, lowest))
        if at <= allowed:
            return int(below[at]), True
    return int(below[allowed]) if allowed >= 0 else 0, False


def _valley(found: Buckets) -> float | None:
    """The magnitude at the valley between a heap at zero and the next heap, None where there is none."""
    if found.count.size < 2:
        return None
    top = float(found.high[-1])
    counts, bounds = np.histogram(found.center, bins=BINS, range=(0.0, top), weights=found.count)
    counts[0] += found.zeros
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    falling = np.flatnonzero(np.diff(smooth) < 0)
    if not len(falling) or falling[0] >= BINS - 2:
        return None
    peak = int(falling[0])
    after = smooth[peak + 1 :]
    best = int(np.argmax(after - np.minimum.accumulate(after)))
    lowest = int(np.argmin(after[: best + 1]))
    if 2 * after[lowest] > min(smooth[peak], after[best]):
        return None
    return float(bounds[peak + 1 + lowest])
