"""Ridge regression of what a node still lacks, its strength chosen by error on rows that took no part in the fit.

With rows P (n x c), the outputs y0 = P W0 of the weights that are there and the targets Y, the unknown is the change
W = W0 + S U of the weights, S = diag(s), s_c = 1 / rms of column c:

    U* = argmin_U |P S U - E|^2 + lambda n |U|^2,     E = Y - y0

so that the pull goes towards W0 and is relative to the diagonal of P^T P. Two forms give the same U*:

    normal equations   U = Q ((Q^T (PS)^T E) / (e + lambda n)),     (PS)^T (PS) = Q diag(e) Q^T      (c x c)
    dual               U = (PS)^T Q ((Q^T E) / (e + lambda n)),     (PS) (PS)^T = Q diag(e) Q^T      (n x n)

One eigendecomposition serves every lambda and every target. Gram matrices are float64 and are added in a fixed order.

Where a clip follows (ReLU, ReLU6, the flat part of HardSwish), a node need not reach a target that lies beyond it: an
output that is beyond it as well is as good. With the low bound L the loss of an output y is

    f(y) = max(y - L, 0)^2   where t <= L,      (y - t)^2   elsewhere

and (y - min(y', L))^2 majorises the first line at any present y'. So least squares with min(y', L) in the place of t,
repeated, lowers f at every step; Nesterov's extrapolation speeds it up. Bounds may differ from entry to entry (a
shortcut is added before the clip). How often it is repeated is chosen like lambda, by the error behind the clip; no
repetition is the plain fit.

Formulas: Hoerl and Kennard 1970; as layer-wise reconstruction in He et al. 2017 (Channel Pruning) and Frantar and
Alistarh 2022 (OBC); majorisation as in Hunter and Lange 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGES = tuple(10.0 ** (k / 2) for k in range(-14, 3))
ROUNDS = 12
_CHOOSE_ANEW = (0, 2, 6)
_CHUNK = 1 << 22


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
        step = max(_CHUNK // max(rows.shape[0] * rows.shape[2], 1), 1)
        for start in range(0, rows.shape[1], step):
            wide = rows[:, start : start + step].astype(np.float64)
            aim = target[:, start : start + step].astype(np.float64)
            self.gram += _gram(wide.transpose(0, 2, 1))
            self.cross += wide.transpose(0, 2, 1) @ aim
            self.square += np.einsum("gij,gij->g", aim, aim)
        self.rows += rows.shape[1]

    def error(self, weight: np.ndarray) -> np.ndarray:
        """Squared error of weights (groups, columns, outputs), summed over rows and outputs: shape (groups,)."""
        quadratic = np.einsum("gij,gij->g", weight, self.gram @ weight - 2 * self.cross)
        return np.maximum(quadratic + self.square, 0.0)


def _gram(a: np.ndarray) -> np.ndarray:
    """A A^T of each group; numpy takes the symmetric product for a plain matrix."""
    return np.stack([part @ part.T for part in a]) if len(a) < 8 else a @ a.transpose(0, 2, 1)


@dataclass(frozen=True)
class Rows:
    """Rows of a problem in residual form.

    Attributes:
        p: Rows times S, float32, shape (groups, n, columns).
        e: What the present weights lack, float32, shape (groups, n, outputs).
        low: Outputs below it (less y0) are all the same; None where nothing is clipped below.
        high: The same above.
    """

    p: np.ndarray
    e: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @property
    def clipped(self) -> bool:
        """Whether a clip follows."""
        return self.low is not None or self.high is not None

    def loss(self, y: np.ndarray) -> np.ndarray:
        """The loss of a change `y` of the outputs, summed over rows and outputs: shape (groups,)."""
        off = self.seen(y) - self.seen(self.e)
        return np.einsum("gij,gij->g", off, off, dtype=np.float64)

    def seen(self, y: np.ndarray) -> np.ndarray:
        """What comes through the clip."""
        y = y if self.low is None else np.maximum(y, self.low)
        return y if self.high is None else np.minimum(y, self.high)

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Targets that majorise the loss at `y`."""
        t = self.e
        if self.low is not None:
            t = np.where(self.e <= self.low, np.minimum(y, self.low), t)
        if self.high is not None:
            t = np.where(self.e >= self.high, np.maximum(y, self.high), t)
        return t

    def part(self, chosen: np.ndarray) -> Rows:
        """Some of the rows."""
        bounds = (None if b is None else b[:, chosen] for b in (self.low, self.high))
        return Rows(self.p[:, chosen], self.e[:, chosen], *bounds)


class Factor:
    """The eigendecomposition of a problem, in the form that fits.

    Args:
        rows: The rows to fit.
        dual: True for the form over rows.
    """

    def __init__(self, rows: Rows, *, dual: bool) -> None:
        self.rows, self._dual = rows, dual
        self._count = rows.p.shape[1]
        if dual:
            gram = _gram(rows.p.astype(np.float64))
        else:
            normal = Normal(len(rows.p), rows.p.shape[2], rows.e.shape[2])
            normal.add(rows.p, rows.e)
            gram, self._cross = normal.gram, normal.cross
        values, self._vectors = np.linalg.eigh(gram)
        self._values = np.maximum(values, 0.0)

    def turned(self, targets: np.ndarray) -> np.ndarray:
        """Targets in the basis of the eigenvectors, float64."""
        if self._dual:
            right = targets.astype(np.float64)
        elif targets is self.rows.e:
            right = self._cross
        else:
            more = targets - self.rows.e
            right = self._cross + (self.rows.p.transpose(0, 2, 1) @ more)
        return self._vectors.transpose(0, 2, 1) @ right

    def solve(self, turned: np.ndarray, ridge: np.ndarray) -> np.ndarray:
        """Coefficients for one ridge a group: U itself, or in the dual form the weights of the rows."""
        damped = self._values + ridge[:, None] * self._count + 1e-12
        return self._vectors @ (turned / damped[:, :, None])

    def predict(self, p: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The change of the outputs at rows `p`, float32."""
        thin = coefficients.astype(np.float32)
        if not self._dual:
            return p @ thin
        return (p @ self.rows.p.transpose(0, 2, 1)) @ thin  # rows x rows, far smaller than inputs x outputs

    def change(self, coefficients: np.ndarray) -> np.ndarray:
        """U."""
        # float32 where there are many inputs: the change is as large as the weights themselves.
        return self.rows.p.transpose(0, 2, 1) @ coefficients.astype(np.float32) if self._dual else coefficients


@dataclass(frozen=True)
class Fit:
    """A solved problem.

    Attributes:
        change: U, shape (groups, columns, outputs); None where no group gained.
        before: Held-out loss of the weights that were there, each group.
        after: Held-out loss of the changed weights, each group.
        ridges: The ridge of each group, for the plain fit and every revision of the targets for the clip.
    """

    change: np.ndarray | None
    before: np.ndarray
    after: np.ndarray
    ridges: list[np.ndarray]

    @property
    def rounds(self) -> int:
        """How often targets were revised for the clip."""
        return len(self.ridges) - 1

    @property
    def ridge(self) -> float:
        """The ridge that was used last, the median of the groups."""
        return float(np.median(self.ridges[-1]))


def fit(rows: Rows, folds: np.ndarray, *, dual: bool, several: bool) -> Fit:
    """The best change by held-out loss, fitted to all rows in the end.

    Args:
        rows: All rows.
        folds: Number of each row's fold; fold 0 decides what is taken.
        dual: Which form.
        several: Let every fold choose the ridge in turn, not only fold 0.
    """
    held = rows.part(folds == 0)
    factor = Factor(rows.part(folds != 0), dual=dual)
    before = held.loss(np.zeros_like(held.e))
    losses = _curve(factor, held, factor.rows.e)
    if several:
        for fold in range(1, int(folds.max()) + 1):
            other = rows.part(folds != fold)
            losses = losses + _curve(Factor(other, dual=dual), rows.part(folds == fold), other.e)
    ridges, after = _descend(factor, held, _least(losses))
    if not (after < before).any():
        return Fit(None, before, before, ridges)
    change = _final(Factor(rows, dual=dual), ridges)
    change[after >= before] = 0
    return Fit(change, before, np.minimum(after, before), ridges)


def _curve(factor: Factor, held: Rows, targets: np.ndarray) -> np.ndarray:
    """Held-out loss for every ridge, shape (ridges, groups)."""
    turned = factor.turned(targets)
    return np.stack([_loss(factor, held, factor.solve(turned, np.full(len(held.p), ridge))) for ridge in RIDGES])


def _least(losses: np.ndarray) -> np.ndarray:
    return np.array(RIDGES)[losses.argmin(axis=0)]


def _loss(factor: Factor, held: Rows, coefficients: np.ndarray) -> np.ndarray:
    return held.loss(factor.predict(held.p, coefficients))


def _descend(factor: Factor, held: Rows, ridge: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The ridge of every round up to the best by held-out loss, all groups together, and the loss then.

    Targets that beyond the clip are no longer what the teacher has there want another ridge: it is chosen anew.
    """
    rows, ridges = factor.rows, [ridge]
    y = last = factor.predict(rows.p, factor.solve(factor.turned(rows.e), ridge))
    losses = [_loss(factor, held, factor.solve(factor.turned(rows.e), ridge))]
    for number in range(ROUNDS if held.clipped else 0):
        targets = rows.targets(_ahead(y, last, number))
        if number in _CHOOSE_ANEW:
            ridge = _least(_curve(factor, held, targets))
        coefficients = factor.solve(factor.turned(targets), ridge)
        y, last = factor.predict(rows.p, coefficients), y
        losses.append(_loss(factor, held, coefficients))
        ridges.append(ridge)
    best = int(np.argmin([loss.sum() for loss in losses]))
    return ridges[: best + 1], losses[best]


def _ahead(y: np.ndarray, last: np.ndarray, number: int) -> np.ndarray:
    """Nesterov's extrapolation."""
    return y + number / (number + 3) * (y - last)


def _final(factor: Factor, ridges: list[np.ndarray]) -> np.ndarray:
    """The change after the same rounds on all rows."""
    rows = factor.rows
    coefficients = factor.solve(factor.turned(rows.e), ridges[0])
    y = last = factor.predict(rows.p, coefficients) if len(ridges) > 1 else rows.e
    for number, ridge in enumerate(ridges[1:]):
        coefficients = factor.solve(factor.turned(rows.targets(_ahead(y, last, number))), ridge)
        y, last = factor.predict(rows.p, coefficients), y
    return factor.change(coefficients)
