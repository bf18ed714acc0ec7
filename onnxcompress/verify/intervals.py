"""95 % intervals of the figures that a report shows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Interval = tuple[float, float]

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

T95_9 = 2.2621571628540993
"""The 97.5 % quantile of Student's t with 9 degrees of freedom."""

GROUPS = 10
"""Groups of the jackknife."""


def proportion(hits: int, count: int) -> Interval:
    """Wilson's score interval of a proportion (E. B. Wilson 1927)."""
    if not count:
        return 0.0, 1.0
    share, z2 = hits / count, Z95 * Z95
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return (max(0.0, middle - half) if hits else 0.0), (min(1.0, middle + half) if hits < count else 1.0)


def paired_difference(lost: int, won: int, count: int) -> Interval:
    """Interval of candidate minus reference accuracy, both measured on the same samples.

    Agresti and Min (2005): Wald's interval of a paired difference after adding 1/2 to each of the four cells,
    ``d = (won - lost) / n``, ``se = sqrt(won + lost - (won - lost)^2 / n) / n``.

    Args:
        lost: Samples that only the reference has right.
        won: Samples that only the candidate has right.
        count: All samples.
    """
    a, b, n = lost + 0.5, won + 0.5, count + 2.0
    middle = (b - a) / n
    half = Z95 * math.sqrt(max(0.0, a + b - (b - a) ** 2 / n)) / n
    return max(-1.0, middle - half), min(1.0, middle + half)


def jackknife(difference: Callable[[np.ndarray], float], count: int, whole: float) -> Interval | None:
    """Interval of a difference of any metric: delete-a-group jackknife over ten interleaved groups of samples.

    ``var = (g - 1) / g * sum_i (d_i - mean(d))^2`` with d_i the figure without group i; Student's t, g - 1 degrees.

    Args:
        difference: The figure on the samples at given indices; not finite where it is not defined on them, and then
            there is no interval.
        count: Number of samples; below two a group there is no interval.
        whole: The figure on all samples.
    """
    if count < 2 * GROUPS:
        return None
    group = np.arange(count) % GROUPS
    parts = np.array([difference(np.flatnonzero(group != g)) for g in range(GROUPS)])
    if not np.isfinite(parts).all():
        return None
    half = T95_9 * math.sqrt((GROUPS - 1) / GROUPS * float(((parts - parts.mean()) ** 2).sum()))
    return whole - half, whole + half
