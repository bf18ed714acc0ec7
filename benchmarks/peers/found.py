"""Which positions of an array a pruner kept, told from what it left: random weights differ from each other."""

from __future__ import annotations

import numpy as np


def only_kept(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`before` at full size, with zeros where a slice along a shortened axis is nowhere in `after`."""
    present = np.isin(before, after)
    result = before
    for axis in range(before.ndim):
        if before.shape[axis] != after.shape[axis]:
            others = tuple(a for a in range(before.ndim) if a != axis)
            keep = present.any(axis=others, keepdims=True)
            result = np.where(keep, result, np.zeros((), before.dtype))
    return result


def distance(wanted: np.ndarray, got: np.ndarray) -> float:
    """Largest difference over the largest value; infinite where the shapes differ."""
    if wanted.shape != got.shape:
        return float("inf")
    scale = max(float(np.abs(wanted).max(initial=0.0)), 1e-2)
    return float(np.abs(wanted - got).max(initial=0.0)) / scale
