"""How far two tensors are apart, added up run by run in float64, so that nothing has to be kept.

With reference r and candidate c: ``max_abs = max |r - c|``; ``relative_l2 = |r - c| / |r|``;
``cosine = <r, c> / (|r| |c|)``; ``sqnr_db = 10 log10(|r|^2 / |r - c|^2)``. Positions where both are NaN, or both the
same infinity, are equal and count as zero difference; where only one is finite the two do not agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OutputComparison:
    """Distance between the reference's and the candidate's values of one tensor.

    Attributes:
        max_abs: Largest absolute difference; infinite where only one of the two is finite.
        relative_l2: Norm of the difference over the norm of the reference.
        cosine: Cosine of the angle between the two.
        sqnr_db: Signal-to-quantization-noise ratio in dB; infinite where the two are equal.
        equal: Fraction of elements that are equal, the figure for integer outputs.
        scale: Largest absolute value of the reference.
        elements: Number of elements compared.
    """

    max_abs: float
    relative_l2: float
    cosine: float
    sqnr_db: float
    equal: float
    scale: float
    elements: int


@dataclass
class Distance:
    """Sums behind an OutputComparison; `add` takes one run, `result` may be asked at any time."""

    noise: float = 0.0
    signal: float = 0.0
    power: float = 0.0
    inner: float = 0.0
    max_abs: float = 0.0
    scale: float = 0.0
    equal: int = 0
    elements: int = 0

    def add(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        """Count one run.

        Raises:
            ValueError: Where the shapes differ.
        """
        if reference.shape != candidate.shape:
            raise ValueError(f"shape {list(reference.shape)} became {list(candidate.shape)}")
        self.elements += reference.size
        if not is_numeric(reference):
            self.equal += int(np.count_nonzero(reference == candidate))
            return
        first, second = reference.astype(np.float64).ravel(), candidate.astype(np.float64).ravel()
        same = (first == second) | (np.isnan(first) & np.isnan(second))
        self.equal += int(np.count_nonzero(same))
        both = np.isfinite(first) & np.isfinite(second)
        if not np.array_equal(both | same, np.ones_like(same)):
            self.max_abs = self.noise = math.inf
        self._sum(first[both], second[both])

    def _sum(self, first: np.ndarray, second: np.ndarray) -> None:
        if not first.size:
            return
        gap = first - second
        self.noise += float(gap @ gap)
        self.signal += float(first @ first)
        self.power += float(second @ second)
        self.inner += float(first @ second)
        self.max_abs = max(self.max_abs, float(np.abs(gap).max()))
        self.scale = max(self.scale, float(np.abs(first).max()))

    def result(self) -> OutputComparison:
        """The figures so far."""
        apart = math.sqrt(self.noise / self.signal) if self.signal else (0.0 if not self.noise else math.inf)
        norms = math.sqrt(self.signal) * math.sqrt(self.power)
        cosine = self.inner / norms if norms else float(self.signal == self.power)
        sqnr = -20 * math.log10(apart) if 0 < apart < math.inf else (math.inf if not apart else -math.inf)
        equal = self.equal / self.elements if self.elements else 1.0
        return OutputComparison(self.max_abs, apart, cosine, sqnr, equal, self.scale, self.elements)


def is_numeric(array: np.ndarray) -> bool:
    """True for arrays that can be subtracted: numbers and booleans, ml_dtypes among them, not strings."""
    return array.dtype.kind in "fiubV" and array.dtype.names is None
