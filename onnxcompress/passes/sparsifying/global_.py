"""The method `global`: one threshold for all layers, at the exact K-th smallest magnitude, in bounded memory.

Magnitudes of float32 sort as their bits do. One pass counts the upper 16 bits of all weights and finds the bucket that
holds the K-th smallest; a second one counts the lower 16 bits inside that bucket. Of weights equal to the threshold as
many go as are still wanted, from the first layer on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_HALF = 16
_SIZE = 1 << _HALF

Load = Callable[[], np.ndarray]
"""Gives the magnitudes of one layer; called three times, so that not all layers are in memory at once."""


def shares(layers: Sequence[Load], count: int) -> list[int]:
    """How many weights each layer gives, so that the `count` smallest of all are gone."""
    if count <= 0:
        return [0] * len(layers)
    limit = kth_smallest(layers, count)
    counted = [_around(_bits(load()), limit) for load in layers]
    below, equal = (np.array(column) for column in zip(*counted, strict=True))
    before = np.cumsum(equal) - equal
    taken = np.clip(count - below.sum() - before, 0, equal)
    return [int(number) for number in below + taken]


def _around(bits: np.ndarray, limit: int) -> tuple[int, int]:
    return int((bits < limit).sum()), int((bits == limit).sum())


def kth_smallest(layers: Sequence[Load], count: int) -> int:
    """The bits of the `count`-th smallest magnitude of all layers, counted from 1."""
    upper = np.zeros(_SIZE, np.int64)
    for load in layers:
        upper += np.bincount(_bits(load()) >> _HALF, minlength=_SIZE)
    bucket = int(np.searchsorted(np.cumsum(upper), count))
    wanted = count - int(upper[:bucket].sum())
    lower = np.zeros(_SIZE, np.int64)
    for load in layers:
        bits = _bits(load())
        lower += np.bincount(bits[bits >> _HALF == bucket] & (_SIZE - 1), minlength=_SIZE)
    return bucket << _HALF | int(np.searchsorted(np.cumsum(lower), wanted))


def _bits(magnitudes: np.ndarray) -> np.ndarray:
    return magnitudes.astype(np.float32).reshape(-1).view(np.uint32)
