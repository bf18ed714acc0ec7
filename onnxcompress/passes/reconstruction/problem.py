"""One node's least-squares problem: rows sampled from the streams, their targets and bounds, and the fit of the whole.

Memory: rows and everything made from them stay under a ceiling. Which form is solved is chosen by what fits: the normal
equations (inputs x inputs), else the dual (rows x rows) on as many rows as fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.solve import Fit, Rows, fit

FOLDS = 5
"""One batch in five takes no part in a fit and judges it."""

_FEW = 4
"""With fewer rows than this for each unknown, every fold chooses the ridge in turn."""


Bounds = tuple[np.ndarray | None, np.ndarray | None]
"""Below and above what an output makes no difference; shaped to broadcast against it."""


@dataclass(frozen=True)
class Plan:
    """How a problem is to be solved.

    Attributes:
        form: ``normal equations`` or ``dual``.
        rows: Most rows.
    """

    form: str
    rows: int

    @property
    def dual(self) -> bool:
        """Whether the rows x rows form is meant."""
        return self.form == "dual"


def plan(shape: tuple[int, int, int], rows: int, memory: int) -> Plan | None:
    """The form for a problem of so many groups, columns and outputs; None where none fits.

    Args:
        shape: Groups, columns and outputs of a group.
        rows: Rows that there are.
        memory: Bytes for rows, Gram matrix and factors together.
    """
    groups, columns, outputs = shape
    room = memory // (4 * groups * (3 * columns + 8 * outputs))
    primal, dual = 32 * groups * columns**2, 32 * groups
    if primal <= memory // 2 and (columns <= rows or columns <= room):
        return Plan("normal equations", min(rows, room // 2))
    fits = min(rows, room // 2, int((memory // 2 / dual) ** 0.5))
    return Plan("dual", fits) if FOLDS < fits < columns else None


class Problem:
    """Rows of one node, batch by batch.

    Args:
        linear: The node.
        plan: How it is to be solved.
    """

    def __init__(self, linear: Linear, plan: Plan) -> None:
        self.linear, self.plan = linear, plan
        self._parts: list[tuple[np.ndarray, ...]] = []
        self._folds: list[np.ndarray] = []
        self.power = 0.0

    def add(self, x: np.ndarray, y: np.ndarray, bounds: Bounds, at: np.ndarray, fold: int) -> None:
        """Add the rows at flat output positions `at`: input, target and bounds of one batch."""
        p = self.linear.rows(x, at).astype(np.float32)
        sides = [y, *(np.broadcast_to(b, y.shape) for b in bounds if b is not None)]
        targets = [self.linear.targets(side, at).astype(np.float32) for side in sides]
        self._bounded = tuple(b is not None for b in bounds)
        self._parts.append((p, *targets))
        self._folds.append(np.full(len(at), fold))
        self.power += float(np.square(targets[0], dtype=np.float64).sum()) if fold == 0 else 0.0

    @property
    def folds(self) -> int:
        """How many folds have rows."""
        return len(np.unique(np.concatenate(self._folds))) if self._folds else 0

    def solve(self) -> tuple[np.ndarray | None, Fit]:
        """The weights in the form of `Linear.matrix` (None where nothing is gained), and how they were found."""
        p, t, *bounds = (np.concatenate(parts, axis=1) for parts in zip(*self._parts, strict=True))
        self._parts.clear()
        start = self.linear.matrix(np.float32)
        left = iter(bounds)
        low, high = (next(left) if there else None for there in self._bounded)
        change, found = _improve((p, t, low, high), start, np.concatenate(self._folds), dual=self.plan.dual)
        if change is None:
            return None, found
        if self.plan.dual:
            start += change
            return start, found
        return self.linear.matrix() + change, found


def improved(p: np.ndarray, target: np.ndarray, start: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Weights (columns, outputs) for rows (n, columns) and targets; `start` where held-out rows do not gain."""
    sides = p.astype(np.float32)[None], target.astype(np.float32)[None], None, None
    change, _ = _improve(sides, start.astype(np.float32)[None], folds, dual=False)
    return start if change is None else start + change[0]


def _improve(
    sides: tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None],
    start: np.ndarray,
    folds: np.ndarray,
    *,
    dual: bool,
) -> tuple[np.ndarray | None, Fit]:
    """The change of `start` for rows, targets and bounds; the rows are scaled in place."""
    p, t, low, high = sides
    y = p @ start
    scale = _scale(p)
    p *= scale
    rows = Rows(p, t - y, None if low is None else low - y, None if high is None else high - y)
    few = p.shape[1] < _FEW * p.shape[2]
    found = fit(rows, folds, dual=dual, several=few and not dual)
    if found.change is not None:
        found.change[...] *= scale.transpose(0, 2, 1)
    return found.change, found


def _scale(p: np.ndarray) -> np.ndarray:
    """1 / rms of every column, shape (groups, 1, columns); 1 where a column is zero."""
    rms = np.sqrt(np.einsum("gij,gij->gj", p, p, dtype=np.float64) / max(p.shape[1], 1))
    return np.where(rms > 1e-12, 1.0 / np.maximum(rms, 1e-12), 1.0).astype(np.float32)[:, None, :]
