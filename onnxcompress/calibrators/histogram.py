"""The range rule `histogram`: cut a fixed share of the most extreme values off (percentile)."""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import Buckets, FloatHistogram
from onnxcompress.calibrators.uniform import bounds, uniform


def histogram(
    hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False, percentile: float = 99.99
) -> tuple[float, float]:
    """The range that holds `percentile` percent of the elements, interpolated inside a bucket.

    What is cut is shared between the two ends by half; all of it comes off the one end where the values have one sign.
    The symmetric range is that percentile of the magnitude.

    Args:
        hist: What was seen.
        levels: Grid points; the rule does not depend on them.
        symmetric: Give (-a, a).
        percentile: Share of the elements inside, in percent, above 0 and at most 100.
    """
    found = hist.buckets()
    if not found.count.size or percentile >= 100:
        return uniform(hist, symmetric=symmetric)
    cut = 1 - percentile / 100
    if symmetric:
        magnitude = folded(found)
        return bounds(0.0, quantile(magnitude, 1 - cut), symmetric)
    share = cut / 2 if hist.low < 0 < hist.high else cut
    low = quantile(found, share) if hist.low < 0 else 0.0
    high = quantile(found, 1 - share) if hist.high > 0 else 0.0
    return bounds(low, high, symmetric)


def quantile(found: Buckets, share: float) -> float:
    """The value below which `share` of all elements lie, zeros included; linear inside a bucket."""
    zero_at = int(np.searchsorted(found.high, 0.0, side="right"))
    low, high = np.insert(found.low, zero_at, 0.0), np.insert(found.high, zero_at, 0.0)
    count = np.insert(found.count.astype(np.float64), zero_at, found.zeros)
    reached = np.cumsum(count)
    wanted = share * reached[-1]
    i = min(int(np.searchsorted(reached, wanted)), len(count) - 1)
    inside = (wanted - (reached[i] - count[i])) / count[i] if count[i] else 0.0
    return float(low[i] + np.clip(inside, 0, 1) * (high[i] - low[i]))


def folded(found: Buckets) -> Buckets:
    """The buckets of the magnitudes; a bucket of either sign that is cut at the extreme keeps its own edges."""
    if not found.count.size:
        return found
    negative = found.high <= 0
    low = np.where(negative, -found.high, found.low)
    high = np.where(negative, -found.low, found.high)
    order = np.argsort(low, kind="stable")
    low, high, count = low[order], high[order], found.count[order]
    first = np.concatenate([[True], low[1:] != low[:-1]])
    starts = np.flatnonzero(first)
    return Buckets(low[starts], np.maximum.reduceat(high, starts), np.add.reduceat(count, starts), found.zeros)
