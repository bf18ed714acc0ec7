"""Which weights go and how the others make up for them, from the second moments of the layer's input.

A linear layer y = P w with Gram matrix G = P^T P and targets t loses |P w - t|^2. With H = G + lambda I the optimal
weights are w* = w + H^-1 (P^T t - G w), a pull towards the teacher's output on the student's own input. Setting w_j to
zero costs w_j^2 / [H^-1]_jj once the others are moved by -w_j [H^-1]_:j / [H^-1]_jj (Hassibi and Stork 1993, OBS).

The columns are walked once (Frantar and Alistarh 2023, SparseGPT): with H^-1 = U^T U, U upper triangular, the inverse
of what lies at and behind column j has U_j,j: as its first row. One factor serves every row of w and every step, and
what a block of columns owes to those behind it is paid by one product. The factor comes from a Cholesky factorisation
of H itself with its order reversed, H = R R^T, U = R^-1: H^-1 is never formed before it is factored.

* Count: the k smallest w_j^2 / [H^-1]_jj of the layer tell how many each block of columns gives; which ones is decided
  as the walk comes to the block, with the weights as they are then.
* N:M: of every M columns the N with the largest scores stay, decided as the walk comes to the first of them.

At last the weights that stay are solved for exactly, w_S = w_S + (H_SS)^-1 (P^T t - G w)_S row by row, where that
many small systems can be afforded.

Shapes: g independent groups (a grouped convolution), each with r outputs and c columns; weights (g, r, c). All columns
from `free` on (the bias) are moved but never zeroed.
"""

from __future__ import annotations

import numpy as np

from onnxcompress.passes.sparsifying.n_m import NM
from onnxcompress.passes.sparsifying.smallest import smallest

DAMPING = 0.01
"""lambda as a share of the mean of the Gram's diagonal."""

_BLOCK = 128
_SMALL = 64  # below this a general inverse is as fast
_SOLVE_FLOPS = 2e11


def eliminate(
    weight: np.ndarray, gram: np.ndarray, cross: np.ndarray, wanted: int | NM, free: int, damping: float = DAMPING
) -> np.ndarray:
    """Zero `wanted` weights and move the others.

    Args:
        weight: Shape (g, r, c), float64.
        gram: P^T P, shape (g, c, c).
        cross: P^T t, shape (g, c, r).
        wanted: How many become zero in all, or the pattern along the columns.
        free: Columns from here on are never zeroed.
        damping: lambda as a share of the mean of the Gram's diagonal.

    Returns:
        The new weights, of the same shape.
    """
    strength = _strength(gram, damping)
    damped = gram.copy()
    np.einsum("gii->gi", damped)[:] += strength[:, 0]
    factor = _inverse_factor(damped)
    residual = cross.transpose(0, 2, 1) - _through(weight, damped, strength)
    moved = weight + residual @ factor.transpose(0, 2, 1) @ factor
    gone = _walk(moved, factor, free, wanted)
    moved[gone] = 0.0
    del factor
    return _settle(moved, gone, damped, cross.transpose(0, 2, 1) - _through(moved, damped, strength))


def _strength(gram: np.ndarray, damping: float) -> np.ndarray:
    """The damping of each group, shape (g, 1, 1); 1 where the input was zero throughout."""
    mean = np.trace(gram, axis1=1, axis2=2) / gram.shape[1]
    return np.where(mean > 0, damping * mean, 1.0)[:, None, None]


def _through(weight: np.ndarray, damped: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """G w of every row, from H = G + lambda I."""
    return weight @ damped - strength * weight


def _inverse_factor(damped: np.ndarray) -> np.ndarray:
    """U upper triangular with H^-1 = U^T U."""
    return _inverted(np.linalg.cholesky(damped[:, ::-1, ::-1])[:, ::-1, ::-1])


def _inverted(upper: np.ndarray) -> np.ndarray:
    """The inverse of upper triangular matrices, by halves: [[A, B], [0, C]]^-1 = [[A^-1, -A^-1 B C^-1], [0, C^-1]]."""
    size = upper.shape[1]
    if size <= _SMALL:
        return np.triu(np.linalg.inv(upper))
    half = size // 2
    found = np.zeros(upper.shape)
    found[:, :half, :half] = _inverted(upper[:, :half, :half])
    found[:, half:, half:] = _inverted(upper[:, half:, half:])
    found[:, :half, half:] = -found[:, :half, :half] @ (upper[:, :half, half:] @ found[:, half:, half:])
    return found


def _walk(weight: np.ndarray, factor: np.ndarray, free: int, wanted: int | NM) -> np.ndarray:
    """Zero column after column in place, moving those behind; returns what was zeroed."""
    gone = np.zeros(weight.shape, bool)
    step = wanted.m if isinstance(wanted, NM) else 1
    width = max(_BLOCK // step, 1) * step
    quota = [] if isinstance(wanted, NM) else _quotas(weight, factor, wanted, free, width)
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    for number, start in enumerate(range(0, free, width)):
        stop = min(start + width, free)
        if not isinstance(wanted, NM):
            scores = np.square(weight[:, :, start:stop] / diagonal[:, None, start:stop])
            gone[:, :, start:stop] = smallest(scores, quota[number])
        debt = np.zeros((*weight.shape[:2], stop - start))
        for j in range(start, stop):
            if isinstance(wanted, NM) and j % wanted.m == 0:
                group = slice(j, j + wanted.m)
                gone[:, :, group] = wanted.mask(np.square(weight[:, :, group] / diagonal[:, None, group]))
            owed = np.where(gone[:, :, j], weight[:, :, j], 0.0) / diagonal[:, None, j]
            weight[:, :, j:stop] -= owed[:, :, None] * factor[:, None, j, j:stop]
            debt[:, :, j - start] = owed
        weight[:, :, stop:] -= debt @ factor[:, start:stop, stop:]
    return gone


def _quotas(weight: np.ndarray, factor: np.ndarray, count: int, free: int, width: int) -> list[int]:
    """How many of `count` zeros each block of columns gives, by the scores before any is zeroed."""
    inverse = np.einsum("gij,gij->gj", factor, factor)
    gone = smallest(np.square(weight[:, :, :free]) / inverse[:, None, :free], count)
    return [int(gone[:, :, start : start + width].sum()) for start in range(0, free, width)]


def _settle(weight: np.ndarray, gone: np.ndarray, damped: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """The weights that stay, solved for exactly; as they are where that costs too much."""
    support = (~gone).sum(axis=2, dtype=np.float64)
    if (2 / 3 * support**3).sum() > _SOLVE_FLOPS:
        return weight
    for group, row in np.ndindex(*weight.shape[:2]):
        stays = np.flatnonzero(~gone[group, row])
        weight[group, row, stays] += np.linalg.solve(damped[group][np.ix_(stays, stays)], residual[group, row, stays])
    return weight
