"""Block elimination: remove channels one at a time, each as the block of its columns, and know the error exactly.

A reader computes y = P w. With A = P^T P / rows + ridge, the best weights on the columns that are left, and their error

    E(S) = min over W' with W'_S = 0 of tr((W' - W)^T A (W' - W)),

follow from the inverse by block elimination. Removing block j from the state (H = A^-1 on what is left, W) costs

    cost_j = tr(W_j^T (H_jj)^-1 W_j)
    W <- W - H_:j (H_jj)^-1 W_j,      H <- H - H_:j (H_jj)^-1 H_j:

and the costs add up to E. A cost depends on W only through M = W W^T, so a W with more outputs than columns is replaced
by the triangular factor of W^T, which has as many.

To touch all of H, M and W at every step would be bound by memory, so steps are gathered, and done many at once as
products of matrices. With (H_jj)^-1 = F F^T, U = H_:j F, L = F^T W_j and V = M_:j F - U L L^T / 2 a step is

    H <- H - U U^T,      M <- M - U V^T - V U^T,      W <- W - U L;

until it is done, the columns of H and M that another step needs are worked out from U and V, and the diagonal blocks,
which give the costs, are kept up to date.

With few samples the costs are too small: as many columns as samples explain anything. So the error is also taken on
samples that were held out, tr((W' - W)^T G_h (W' - W)), at a dozen places of the curve; in float32 where it is wide.

Source: Hassibi and Stork 1993 (OBS) with the blocks of Frantar and Alistarh 2022 (OBC, ZipLM).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MARKS = 12
_PENDING = 128
_HALVED, _ROUNDED = 256, 1024
_EPSILON = 1e-14


class Elimination:
    """What is left of one reader.

    Args:
        hessian: A, shape (n, n), float64, positive definite.
        weight: W, shape (n, outputs), float64.
        columns: Columns of each unit [units, width]; -1 where a unit has fewer.
        held_out: P^T P / rows of samples that took no part in A, shape (n, n); None where there are none.
    """

    def __init__(
        self, hessian: np.ndarray, weight: np.ndarray, columns: np.ndarray, held_out: np.ndarray | None = None
    ) -> None:
        if weight.shape[1] > weight.shape[0]:
            weight = np.asarray(np.linalg.qr(weight.T, mode="r")).T
        self._inverse, self._power = _inverse(hessian), weight @ weight.T
        self._weight, self._start, self._held_out = weight.copy(), weight, held_out
        self._at = np.arange(len(weight))
        self._columns = columns
        self._left = np.asarray((columns >= 0).any(axis=1))
        self._begin()

    def costs(self) -> np.ndarray:
        """What removing each unit next would cost, shape (units,); 0 for units that it does not read."""
        result = np.zeros(len(self._columns))
        units = np.flatnonzero(self._left)
        blocks, powers = self._blocks[units], self._powers[units]
        if blocks.shape[1] == 1:
            result[units] = powers[:, 0, 0] / blocks[:, 0, 0]
        elif len(units):
            result[units] = np.trace(np.linalg.solve(blocks, powers), axis1=1, axis2=2)
        return np.maximum(result, 0.0)

    def remove(self, unit: int) -> float:
        """Remove one unit; returns its cost."""
        if not self._left[unit]:
            return 0.0
        at = self._columns[unit]
        at = at[at >= 0]
        across = self._inverse[at].T - self._u @ self._u[at].T
        root = _inverse_root(across[at])
        taken = across @ root
        lost = root.T @ (self._weight[at] - self._u[at] @ self._lost)
        seen = (self._power[at].T - self._u @ self._v[at].T - self._v @ self._u[at].T) @ root
        self._left[unit] = False
        self._move(taken, seen - taken @ (lost @ lost.T) / 2, lost)
        return float(np.square(lost).sum())

    def error(self) -> float:
        """The error so far on the samples held out; NaN where there are none."""
        if self._held_out is None:
            return np.nan
        self._settle()
        change = -self._start
        change[self._at] += self._weight
        if len(change) >= _ROUNDED:
            change = change.astype(np.float32)
        return max(float(np.einsum("ij,ij->", self._held_out, change @ change.T)), 0.0)

    def _begin(self) -> None:
        """Nothing pending; the diagonal blocks as the matrices have them."""
        self._u = self._v = np.zeros((len(self._weight), 0))
        self._lost = np.zeros((0, self._weight.shape[1]))
        self._blocks = _diagonal(self._inverse, self._columns, np.eye(self._columns.shape[1]))
        self._powers = _diagonal(self._power, self._columns, np.zeros(()))

    def _move(self, u: np.ndarray, v: np.ndarray, lost: np.ndarray) -> None:
        """One removal: pending for the matrices, done for their diagonal blocks."""
        rows, others = self._of_units(u), self._of_units(v)
        self._blocks -= rows @ rows.transpose(0, 2, 1)
        both = rows @ others.transpose(0, 2, 1)
        self._powers -= both + both.transpose(0, 2, 1)
        self._u, self._v = np.concatenate([self._u, u], axis=1), np.concatenate([self._v, v], axis=1)
        self._lost = np.concatenate([self._lost, lost])
        if len(self._lost) >= _PENDING:
            self._settle()

    def _of_units(self, rows: np.ndarray) -> np.ndarray:
        """Rows of each unit [units, width, ...], zero where it has fewer columns."""
        return np.where((self._columns >= 0)[:, :, None], rows[self._columns], 0.0)

    def _settle(self) -> None:
        """Do what is pending, and drop the columns of units that are gone."""
        gone = self._columns[~self._left]
        keep = np.ones(len(self._inverse), dtype=bool)
        keep[gone[gone >= 0]] = False
        keep[0] |= not keep.any()  # no matrix without rows; that row is zero
        u, square = self._u[keep], np.ix_(keep, keep)
        both = u @ self._v[keep].T
        self._inverse = self._inverse[square] - u @ u.T
        self._power = self._power[square] - (both + both.T)
        self._weight, self._at = self._weight[keep] - u @ self._lost, self._at[keep]
        place, kept = np.append(np.cumsum(keep) - 1, -1), np.append(keep, False)
        self._columns = np.where(kept[self._columns], place[self._columns], -1)
        self._begin()


def _diagonal(matrix: np.ndarray, columns: np.ndarray, filling: np.ndarray) -> np.ndarray:
    """Diagonal blocks of units [units, width, width], filled up where a unit has fewer columns."""
    present = columns >= 0
    pairs = present[:, :, None] & present[:, None, :]
    return np.where(pairs, matrix[columns[:, :, None], columns[:, None, :]], filling)


def _inverse_root(block: np.ndarray) -> np.ndarray:
    """F with F F^T the inverse of a positive definite block, also where rounding has left it just short of that."""
    values, vectors = np.linalg.eigh(block)
    return vectors / np.sqrt(np.maximum(values, _EPSILON * values[-1]))


def eliminate(readers: Sequence[Elimination], rows: np.ndarray, *, choose: bool) -> tuple[np.ndarray, np.ndarray]:
    """Remove every unit of a cell, one of each row at a time.

    Args:
        readers: All that read the cell; consumed.
        rows: Units [rows, columns].
        choose: True to take the cheapest that is left of each row; False to follow `rows` as it stands.

    Returns:
        Units in order of removal [rows, columns], and the error that each column added, shape (columns,). Where samples
        were held out, the error is theirs at a few columns, and between them shared out by the running costs.
    """
    order = np.empty_like(rows)
    added = np.zeros(rows.shape[1])
    left = np.ones(rows.shape, bool)
    marks = np.unique(np.linspace(0, rows.shape[1], min(rows.shape[1], _MARKS) + 1).round().astype(int))
    errors = np.zeros(len(marks))
    for column in range(rows.shape[1]):
        for row in range(rows.shape[0]):
            at = column
            if choose:
                costs = _total(readers)[rows[row]]
                at = int(np.argmin(np.where(left[row], costs, np.inf)))
            left[row, at] = False
            order[row, column] = rows[row, at]
            added[column] += sum(reader.remove(int(rows[row, at])) for reader in readers)
        if column + 1 in marks:
            errors[marks == column + 1] = sum(reader.error() for reader in readers)
    return order, _corrected(added, marks, errors)


def _corrected(added: np.ndarray, marks: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Costs scaled between the marks so that they sum to the errors there, which never fall."""
    if not np.isfinite(errors).all():
        return added
    costs = np.concatenate([[0.0], np.cumsum(added)])[marks]
    gained, paid = np.diff(np.maximum.accumulate(errors)), np.diff(costs)
    scale = np.where(paid > 0, gained / np.where(paid > 0, paid, 1.0), 1.0)
    return added * np.repeat(scale, np.diff(marks))


def _total(readers: Sequence[Elimination]) -> np.ndarray:
    """Costs summed in the readers' order."""
    total = readers[0].costs()
    for reader in readers[1:]:
        total = total + reader.costs()
    return total


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse of a positive definite matrix, symmetric to the last bit.

    Wide ones by halves: with B = P^-1 Q and S = R - Q^T B the inverse of [[P, Q], [Q^T, R]] is

        [[P^-1 + B S^-1 B^T, -B S^-1], [-(B S^-1)^T, S^-1]],

    half the work of elimination against the identity, which does not know that it is symmetric.
    """
    half = len(matrix) // 2
    if half < _HALVED:
        inverse = np.linalg.inv(matrix)
        return (inverse + inverse.T) / 2
    first, across = _inverse(matrix[:half, :half]), matrix[:half, half:]
    b = first @ across
    last = _inverse(matrix[half:, half:] - across.T @ b)
    side = b @ last
    first += side @ b.T
    return np.block([[(first + first.T) / 2, -side], [-side.T, last]])
