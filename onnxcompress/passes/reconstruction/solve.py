"""Ridge regression towards the weights that are there, its strength chosen by held-out error.

    W* = argmin_W |P W - Y|^2 + lambda |W - W0|^2
       = W0 + (G + lambda I)^-1 (R - G W0),      G = P^T P,  R = P^T Y

With the eigendecomposition G = Q diag(e) Q^T every lambda costs one product: W* = W0 + Q ((Q^T D) / (e + lambda)),
D = R - G W0. The errors of all lambdas are read from the Gram form on rows that took no part in the fit:
|P W - Y|^2 = tr(W^T G W) - 2 tr(W^T R) + tr(Y^T Y). Sums are float64 and are added in a fixed order.

The pull towards W0 (not towards zero) makes the fit harmless where samples are few. Formula: Hoerl and Kennard 1970,
as layer-wise reconstruction in He et al. 2017 (Channel Pruning) and Frantar and Alistarh 2022 (OBC).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


class Normal:
    """Normal equations of several independent least-squares problems (one a group), summed batch by batch.

    Args:
        groups: Number of problems.
        columns: Unknowns an output.
        outputs: Outputs a group.
    """

    def __init__(self, groups: int, columns: int, outputs: int) -> None:
        self.gram = np.zeros((groups, columns, columns))
        self.cross = np.zeros((groups, columns, outputs))
        self.square = np.zeros(groups)
        self.rows = 0

    def add(self, rows: np.ndarray, target: np.ndarray) -> None:
        """Add rows of shape (groups, n, columns) and their targets of shape (groups, n, outputs)."""
        wide, aim = rows.astype(np.float64), target.astype(np.float64)
        turned = wide.transpose(0, 2, 1)
        self.gram += turned @ wide
        self.cross += turned @ aim
        self.square += np.einsum("gij,gij->g", aim, aim)
        self.rows += rows.shape[1]

    def error(self, weight: np.ndarray) -> np.ndarray:
        """Squared error of weights (groups, columns, outputs), summed over rows and outputs: shape (groups,)."""
        quadratic = np.einsum("gij,gij->g", weight, self.gram @ weight - 2 * self.cross)
        return np.maximum(quadratic + self.square, 0.0)


@dataclass(frozen=True)
class Fit:
    """Solved problems.

    Attributes:
        weight: Shape (groups, columns, outputs).
        before: Held-out error of the weights that were there, relative to the targets' power, all groups together.
        after: Held-out error of `weight`, likewise.
    """

    weight: np.ndarray
    before: float
    after: float


def fit(train: Normal, held_out: Normal, start: np.ndarray) -> Fit:
    """The best ridge solution of each group by held-out error; its start where none is better."""
    power = max(float(held_out.square.sum()), 1e-30)
    best, least = start.copy(), held_out.error(start)
    before = float(least.sum()) / power
    scale = np.trace(train.gram, axis1=1, axis2=2) / max(train.gram.shape[1], 1)
    values, vectors = np.linalg.eigh(train.gram)
    pull = vectors.transpose(0, 2, 1) @ (train.cross - train.gram @ start)
    for ridge in RIDGES:
        damped = np.maximum(values, 0.0) + np.maximum(ridge * scale, 1e-30)[:, None]
        weight = start + vectors @ (pull / damped[:, :, None])
        error = held_out.error(weight)
        better = error < least
        best[better], least = weight[better], np.where(better, error, least)
    return Fit(best, before, float(least.sum()) / power)
