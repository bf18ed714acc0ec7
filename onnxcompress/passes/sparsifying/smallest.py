"""The k smallest of an array, exactly k of them, ties decided by position."""

from __future__ import annotations

import numpy as np


def smallest(scores: np.ndarray, count: int) -> np.ndarray:
    """A mask of `scores`' shape that is True at exactly `count` elements, none larger than one left out.

    Of equal scores the first ones count. Scores must not be NaN.
    """
    flat = scores.reshape(-1)
    count = min(max(count, 0), flat.size)
    mask = np.zeros(flat.size, bool)
    if count:
        limit = np.partition(flat, count - 1)[count - 1]
        mask = flat < limit
        mask[np.flatnonzero(flat == limit)[: count - int(mask.sum())]] = True
    return mask.reshape(scores.shape)
