"""The methods that look at one layer at a time: an absolute threshold, or a fraction of the layer."""

from __future__ import annotations

import numpy as np


def below(magnitudes: np.ndarray, limit: float) -> int:
    """How many magnitudes lie below `limit`, compared in their own type."""
    return int((magnitudes < magnitudes.dtype.type(limit)).sum())


def fraction(size: int, sparsity: float) -> int:
    """The largest whole number of `size` weights that is no more than that fraction of them."""
    return min(int(sparsity * size + 1e-6), size)
