"""Signal-to-noise ratio of one tensor on its grid, read off the histogram."""

from __future__ import annotations

import numpy as np

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.passes.quantization.scales import Grid


def signal_to_noise(hist: FloatHistogram, grid: Grid) -> float:
    """10 log10 of the tensor's energy over its rounding and clipping error, in dB; infinity for a tensor of zeros."""
    found = hist.buckets()
    energy = float((found.center**2) @ found.count)
    if not energy:
        return float("inf")
    limits = np.iinfo(grid.zero.dtype)
    scale, zero = float(grid.scale), int(grid.zero)
    steps = np.clip(np.round(found.center / scale) + zero, limits.min, limits.max) - zero
    noise = float(((found.center - steps * scale) ** 2 + found.width**2 / 12) @ found.count)
    return float(10 * (np.log10(energy) - np.log10(max(noise, np.finfo(np.float64).tiny))))
