"""Integers for a quadratic error: nearest plane, then coordinate descent.

For one output with the wanted weights w* (c), metric A (c x c, positive definite) and a grid with steps s (c), find
integers q within their limits that make

    f(q) = (w* - s q)^T A (w* - s q)

small. With A = R^T R, R upper triangular, Babai's nearest plane sets them from the last to the first:

    q_j = round( (w*_j + sum_{k > j} R_jk (w*_k - s_k q_k) / R_jj) / s_j )

so that each integer makes up for the errors of those before it. This is GPTQ's (and with it OBQ's) recursion on the
Cholesky factor, without an inverse; weights with the largest A_jj go first (GPTQ's order by activation), since little
can be made up for by the others. Cyclic coordinate descent,

    q_j <- round( (s_j q_j + (A (w* - s q))_j / A_jj) / s_j ),

never raises f and ends where no single integer can be moved. All outputs are done at once, and all groups.

Sources: Babai 1986; Frantar et al. 2022 (GPTQ), Frantar and Alistarh 2022 (OBQ); Chen et al. 2025 (GPTQ is Babai's
nearest plane); Behdin et al. 2023 (QuantEase, coordinate descent).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 64


@dataclass(frozen=True)
class Levels:
    """The grid of a weight in matrix form (groups, columns, outputs); scalars broadcast.

    Attributes:
        scale: Steps, float64.
        low: Least integers.
        high: Largest integers.
    """

    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def nearest(self, weight: np.ndarray, row: slice | int = slice(None)) -> np.ndarray:
        """The integers nearest to `weight` (its columns in `row`), as float64."""
        low, high = (b if b.ndim < 3 else b[:, row] for b in (self.low, self.high))
        return np.clip(np.round(weight / self.scale[:, row]), low, high)

    def ordered(self, order: np.ndarray) -> Levels:
        """The grid with its columns in another order, one order a group."""
        return Levels(*(b if b.ndim < 3 else _take(b, order) for b in (self.scale, self.low, self.high)))

    def part(self, columns: np.ndarray) -> Levels:
        """The grid of some columns."""
        return Levels(*(b if b.ndim < 3 else b[:, columns] for b in (self.scale, self.low, self.high)))


def round_on_grid(metric: np.ndarray, wanted: np.ndarray, levels: Levels, sweeps: int) -> np.ndarray:
    """Integers for every group and output, float64.

    Args:
        metric: A, shape (groups, columns, columns).
        wanted: W*, shape (groups, columns, outputs).
        levels: The grid; its scale has the shape of `wanted`.
        sweeps: Rounds of coordinate descent after the nearest plane.
    """
    order = np.argsort(np.einsum("gii->gi", metric), axis=1, kind="stable")
    turned = np.take_along_axis(np.take_along_axis(metric, order[:, :, None], 1), order[:, None, :], 2)
    aim, grid = _take(wanted, order), levels.ordered(order)
    numbers = _nearest_plane(turned, aim, grid)
    for _ in range(sweeps):
        if not _descend(turned, aim, grid, numbers):
            break
    result = np.empty_like(numbers)
    np.put_along_axis(result, np.broadcast_to(order[:, :, None], numbers.shape), numbers, 1)
    return result


def _nearest_plane(metric: np.ndarray, wanted: np.ndarray, levels: Levels) -> np.ndarray:
    upper = np.linalg.cholesky(metric).transpose(0, 2, 1)
    upper = upper / np.einsum("gii->gi", upper)[:, :, None]
    numbers, off = np.empty_like(wanted), np.zeros_like(wanted)
    columns = wanted.shape[1]
    for stop in range(columns, 0, -_BLOCK):
        start = max(stop - _BLOCK, 0)
        base = wanted[:, start:stop] + upper[:, start:stop, stop:] @ off[:, stop:]
        for j in range(stop - 1, start - 1, -1):
            centre = base[:, j - start] + (upper[:, j, None, j + 1 : stop] @ off[:, j + 1 : stop])[:, 0]
            numbers[:, j] = levels.nearest(centre, j)
            off[:, j] = wanted[:, j] - numbers[:, j] * levels.scale[:, j]
    return numbers


def _descend(metric: np.ndarray, wanted: np.ndarray, levels: Levels, numbers: np.ndarray) -> bool:
    """One sweep, in place; whether an integer moved."""
    slope = metric @ (wanted - numbers * levels.scale)
    moved = False
    for start in range(0, wanted.shape[1], _BLOCK):
        stop = min(start + _BLOCK, wanted.shape[1])
        own, change = slope[:, start:stop].copy(), np.zeros_like(slope[:, start:stop])
        for j in range(start, stop):
            step = levels.scale[:, j]
            least = numbers[:, j] * step + own[:, j - start] / metric[:, j, j, None]
            fresh = levels.nearest(least, j)
            change[:, j - start] = (fresh - numbers[:, j]) * step
            numbers[:, j] = fresh
            own -= metric[:, start:stop, j, None] * change[:, None, j - start]
        slope -= metric[:, :, start:stop] @ change
        moved = moved or bool(change.any())
    return moved


def _take(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    return np.take_along_axis(array, order[:, :, None], 1)
