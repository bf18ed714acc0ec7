"""The range rule `uniform`: equal steps from the smallest to the largest value seen."""

from __future__ import annotations

from onnxcompress.calibrators.float_histogram import FloatHistogram


def uniform(hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False) -> tuple[float, float]:
    """Smallest and largest finite value, widened to contain zero.

    Args:
        hist: What was seen.
        levels: Grid points; the rule does not depend on them.
        symmetric: Give (-a, a) with a the largest magnitude.
    """
    return bounds(hist.low, hist.high, symmetric)


def bounds(low: float, high: float, symmetric: bool) -> tuple[float, float]:
    """(low, high) widened to contain zero; (0, 0) where nothing was seen."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if low == float("-inf") or high == float("inf"):
        return 0.0, 0.0
    largest = max(-low, high)
    return (-largest, largest) if symmetric else (low, high)
