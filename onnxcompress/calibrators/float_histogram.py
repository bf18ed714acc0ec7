"""A histogram whose buckets are the top bits of float32 itself, so that it needs no range and merges by adding.

The bucket of a value x is ``bits(x) >> 15``: sign, exponent and 8 bits of the mantissa, 256 equal steps in each octave
[2^k, 2^(k+1)). The state keeps 256 counts for each (sign, octave) that occurs, at most 1 MB, and drops none. Counts are
integers, so the sum does not depend on order, sharding or threads. While counting, 24 octaves around 1 go through a
small table that stays in the cache; everything else takes a slower path into the same state.

Values in the bucket of +-0 (below 2^-134, subnormals that kernels flush to zero) count as zeros. NaN and infinity are
counted apart and never enter a bucket.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SHIFT = 15
PER_OCTAVE = 256
SIGN_OCTAVE = 256
"""Octave keys are 0..255 for positive values and 256..511 for negative ones; 255 and 511 are NaN and infinity."""

_BUCKETS = 2 * 256 * PER_OCTAVE
_FIRST_FAST, _FAST_OCTAVES = 127 - 15, 24  # 2^-15 <= |x| < 2^9
_OUTSIDE, _ZERO, _START = 0, 1, 2
_BLOCK = 1 << 16  # elements at a time: the intermediate arrays stay in the second-level cache


@dataclass(frozen=True)
class Buckets:
    """The filled buckets in order of value; zeros are not among them.

    Attributes:
        low: Lower edge, float64.
        high: Upper edge.
        count: Elements in between.
        zeros: Elements that are zero.
    """

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    zeros: int

    @property
    def center(self) -> np.ndarray:
        """Middle of each bucket."""
        return (self.low + self.high) / 2

    @property
    def width(self) -> np.ndarray:
        """Upper less lower edge."""
        return self.high - self.low

    @property
    def total(self) -> int:
        """Elements in the buckets and zeros."""
        return int(self.count.sum()) + self.zeros


class FloatHistogram:
    """Counts of the values of one tensor, and its exact smallest and largest finite value.

    Attributes:
        low: Smallest finite value seen; infinity before the first.
        high: Largest finite value seen; minus infinity before the first.
        nan: How many NaN were seen.
        inf: How many infinities were seen.
        elements: How many elements were looked at for `low`, `high`, `nan` and `inf`.
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.nan, self.inf, self.elements = 0, 0, 0
        self._fast = np.zeros(_START + 2 * _FAST_OCTAVES * PER_OCTAVE, np.int64)
        self._slow: dict[int, np.ndarray] = {}

    def update(self, values: np.ndarray, *, stride: int = 1) -> None:
        """Count an array of any shape and any numeric dtype (cast to float32 where it is another).

        Args:
            values: The elements.
            stride: Count every stride-th element of each entry of the first axis (all of it flattened where the array
                has one axis), with that weight. `low`, `high`, `nan` and `inf` look at every element all the same.
        """
        rows = values.reshape(values.shape[0], -1) if stride > 1 and values.ndim > 1 else values.reshape(1, -1)
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if not rows.size:
            return
        thinned: list[np.ndarray] = []
        for row in rows:
            for start in range(0, row.size, _BLOCK):  # so that bounds and counts read the memory once
                block = row[start : start + _BLOCK]
                self._bounds(block)
                if stride > 1:
                    thinned.append(block[-start % stride :: stride].copy())
                else:
                    self._count(block.view(np.uint32), 1)
        if thinned:
            chosen = np.concatenate(thinned).view(np.uint32)
            for start in range(0, chosen.size, _BLOCK):
                self._count(chosen[start : start + _BLOCK], stride)

    def merge(self, other: FloatHistogram) -> FloatHistogram:
        """Add what `other` counted, and return this histogram."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.nan += other.nan
        self.inf += other.inf
        self.elements += other.elements
        self._fast += other._fast
        for octave, counts in other._slow.items():
            self._octave(octave)[:] += counts
        return self

    @property
    def zeros(self) -> int:
        """Counted elements that are zero."""
        return int(self._fast[_ZERO])

    @property
    def counted(self) -> int:
        """Finite elements that were counted, each with its weight."""
        return int(self._fast.sum()) + sum(int(c.sum()) for c in self._slow.values())

    def octaves(self) -> dict[int, np.ndarray]:
        """256 counts, int64, for each (sign, octave) that occurs, by key in ascending order."""
        table = self._fast[_START:].reshape(2, _FAST_OCTAVES, PER_OCTAVE)
        found = {
            sign * SIGN_OCTAVE + _FIRST_FAST + octave: table[sign, octave]
            for sign in (0, 1)
            for octave in np.flatnonzero(table[sign].any(axis=1)).tolist()
        }
        return dict(sorted({**found, **self._slow}.items()))

    def buckets(self) -> Buckets:
        """The filled buckets with their edges, cut to the exact smallest and largest value."""
        octaves = self.octaves()
        if not octaves:
            empty = np.zeros(0)
            return Buckets(empty, empty, np.zeros(0, np.int64), self.zeros)
        keys = np.repeat(np.fromiter(octaves, np.int64), PER_OCTAVE) * PER_OCTAVE + np.tile(
            np.arange(PER_OCTAVE), len(octaves)
        )
        counts = np.concatenate(list(octaves.values()))
        keys, counts = keys[counts > 0], counts[counts > 0]
        low, high = _edges(keys)
        order = np.argsort(low, kind="stable")
        low, high = np.maximum(low, self.low), np.minimum(high, self.high)
        return Buckets(low[order], high[order], counts[order], self.zeros)

    def state_dict(self) -> dict[str, np.ndarray]:
        """The whole state as arrays; equal states give equal bytes."""
        octaves = self.octaves()
        counts = np.stack(list(octaves.values())) if octaves else np.zeros((0, PER_OCTAVE), np.int64)
        return {
            "octaves": np.fromiter(octaves, np.int64, len(octaves)),
            "counts": counts.astype(np.int64),
            "bounds": np.array([self.low, self.high], np.float64),
            "special": np.array([self.zeros, self.nan, self.inf, self.elements], np.int64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FloatHistogram:
        """The histogram whose `state_dict` is `state`."""
        made = cls()
        made.low, made.high = (float(v) for v in state["bounds"])
        zeros, made.nan, made.inf, made.elements = (int(v) for v in state["special"])
        made._fast[_ZERO] = zeros
        table = made._fast[_START:].reshape(2, _FAST_OCTAVES, PER_OCTAVE)
        for key, counts in zip(np.asarray(state["octaves"]).tolist(), state["counts"], strict=True):
            sign, place = key // SIGN_OCTAVE, key % SIGN_OCTAVE - _FIRST_FAST
            if 0 <= place < _FAST_OCTAVES:
                table[sign, place] = counts
            else:
                made._octave(key)[:] = counts
        return made

    def _bounds(self, flat: np.ndarray) -> None:
        self.elements += flat.size
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(flat)
            nan = int(np.isnan(flat).sum())
            self.nan += nan
            self.inf += flat.size - int(finite.sum()) - nan
            flat = flat[finite]
            if not flat.size:
                return
            low, high = float(flat.min()), float(flat.max())
        # Adding zero makes -0 and 0 the same, whichever came first.
        self.low, self.high = min(self.low, low + 0.0), max(self.high, high + 0.0)

    def _count(self, bits: np.ndarray, weight: int) -> None:
        places = _lookup().take(bits >> SHIFT)
        counts = np.bincount(places, minlength=self._fast.size)
        if counts[_OUTSIDE]:
            self._count_outside(bits[places == _OUTSIDE] >> SHIFT, weight)
            counts[_OUTSIDE] = 0
        self._fast += counts * weight if weight > 1 else counts

    def _count_outside(self, buckets: np.ndarray, weight: int) -> None:
        found, counts = np.unique(buckets, return_counts=True)
        octaves = found // PER_OCTAVE
        for octave in np.unique(octaves).tolist():
            if octave % SIGN_OCTAVE != SIGN_OCTAVE - 1:
                mine = octaves == octave
                self._octave(octave)[found[mine] % PER_OCTAVE] += counts[mine] * weight

    def _octave(self, key: int) -> np.ndarray:
        return self._slow.setdefault(key, np.zeros(PER_OCTAVE, np.int64))


@functools.cache
def _lookup() -> np.ndarray:
    """Place in the fast table of each of the 131,072 buckets; 0 for those outside of it."""
    table = np.zeros(_BUCKETS, np.uint16)
    size = _FAST_OCTAVES * PER_OCTAVE
    for sign in (0, 1):
        first = (sign * SIGN_OCTAVE + _FIRST_FAST) * PER_OCTAVE
        table[first : first + size] = _START + sign * size + np.arange(size)
        table[sign * SIGN_OCTAVE * PER_OCTAVE] = _ZERO
    return table


def _edges(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of buckets; the edge towards infinity is the largest float32."""
    negative = keys >= SIGN_OCTAVE * PER_OCTAVE
    magnitude = keys - negative * SIGN_OCTAVE * PER_OCTAVE
    near, far = (_value(magnitude + step) for step in (0, 1))
    return np.where(negative, -far, near), np.where(negative, -near, far)


def _value(magnitude: np.ndarray) -> np.ndarray:
    values = (magnitude.astype(np.uint32) << SHIFT).view(np.float32).astype(np.float64)
    return np.minimum(values, float(np.finfo(np.float32).max))
