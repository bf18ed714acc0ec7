"""Geometric median: the sum of a channel's distances to all others of its layer, sum_j |W_i - W_j|_2.

What lies near the geometric median of its layer can be imitated by the rest, and goes first, however large it is.
Source: He et al., "Filter Pruning via Geometric Median" (CVPR 2019, arXiv:1811.00250, eq. 4). Distances come from the
Gram matrix, |W_i - W_j|^2 = |W_i|^2 + |W_j|^2 - 2 W_i W_j, a block of rows at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.passes.pruning.scores.group import by_group

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context
    from onnxcompress.passes.pruning.trace import Trace

_BLOCK_ELEMENTS = 1 << 22


def geometric_median(found: Trace, ctx: Context) -> np.ndarray:
    """One number an atom, see `by_group`; needs no data."""
    return by_group(found, distances)


def distances(rows: np.ndarray) -> np.ndarray:
    """`rows [n, m]` -> the sum of the Euclidean distances of each row to all rows, [n]."""
    centred = rows - rows.mean(axis=0)  # distances stay, and less cancels below
    squares = np.einsum("ij,ij->i", centred, centred)
    step = max(1, _BLOCK_ELEMENTS // max(len(rows), 1))
    parts = [_block(centred, squares, start, start + step) for start in range(0, len(rows), step)]
    return np.concatenate(parts)


def _block(rows: np.ndarray, squares: np.ndarray, start: int, stop: int) -> np.ndarray:
    between = squares[start:stop, None] + squares - 2.0 * (rows[start:stop] @ rows.T)
    return np.sqrt(np.maximum(between, 0.0)).sum(axis=1)
