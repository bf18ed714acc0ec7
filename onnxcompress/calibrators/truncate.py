"""The range rule `truncate`: fixed point, a grid whose step is a power of two (the number format Qm.n).

A fixed-point number of b bits with n of them behind the point is an integer times 2^-n: a device rescales by a shift
and needs no multiplication (TensorFlow's and ARM's Q7, "power-of-two scales" of Jacob et al. 2018, section 2.4, and
"truncation" in the older literature, where the bits below 2^-n are dropped). Nothing but n is free. Covering every
value takes

    n = floor(log2((L / 2 - 1) / max |x|))       symmetric, L levels
    n = floor(log2((L - 1) / (max x - min x)))   with a zero point

and each step of n beyond it halves the rounding error and clips more. Of the next few, the one with the least squared
error over the histogram is taken (`GridError`), or the covering one.
"""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.grid_error import GridError
from onnxcompress.calibrators.mse import cut, sane_bounds
from onnxcompress.calibrators.uniform import uniform
from onnxcompress.errors import UsageError

_FINER = 6  # halvings of the covering step that are tried

LOW_BITS = ("round", "truncate")
"""What becomes of the bits below the step: to the nearest grid point, or dropped (towards zero)."""


def truncate(
    hist: FloatHistogram, *, levels: int = 256, symmetric: bool = False, low_bits: str = "round", cover: bool = False
) -> tuple[float, float]:
    """The range of the fixed-point grid with the least squared error: ``levels - 1`` steps of a power of two.

    Args:
        hist: What was seen.
        levels: Grid points; the symmetric grid has one less.
        symmetric: Give (-a, a).
        low_bits: ``round`` or ``truncate``: how values will be brought to the grid, which moves the best step.
        cover: Take the step that covers every value, whatever the error.

    Raises:
        UsageError: For another `low_bits`.
    """
    if low_bits not in LOW_BITS:
        hint = f"Use one of: {', '.join(LOW_BITS)}."
        raise UsageError(f"unknown way with low bits {low_bits!r}", hint=hint, code="USAGE-BAD-VALUE")
    found = hist.buckets()
    if not found.count.size:
        return uniform(hist, symmetric=symmetric)
    low, high = sane_bounds(hist, found, levels)
    if symmetric:
        high = max(-low, high)
        low, levels = -high, levels - 1
    step = covering_step(low, high, levels) * 0.5 ** np.arange(1 if cover else _FINER + 1)
    first = np.full_like(step, (1 - levels) // 2) if symmetric else _first(low, high, step, levels)
    lows, highs = first * step, (first + levels - 1) * step
    error = GridError(cut(found, low, high), truncate=low_bits == "truncate")(lows, highs, levels)
    at = int(np.argmin(error))
    return float(lows[at]), float(highs[at])


def covering_step(low: float, high: float, levels: int) -> float:
    """The smallest power of two whose grid of `levels` points, zero among them, reaches from `low` to `high`."""
    step = 2.0 ** np.ceil(np.log2((high - low) / (levels - 1)))
    # Both ends fall between grid points: they may take one more step than their sum.
    steps = np.ceil(-low / step) + np.ceil(high / step)
    return float(step if steps <= levels - 1 else 2 * step)


def _first(low: float, high: float, step: np.ndarray, levels: int) -> np.ndarray:
    """Integer of the lowest point: where the grid is too short, both ends lose in proportion."""
    share = np.minimum((levels - 1) * step / (high - low), 1.0)
    lowest = -np.ceil(np.round(-low * share / step, 9))
    return np.clip(lowest, 1 - levels, 0) if high > 0 else np.full_like(step, 1.0 - levels)
