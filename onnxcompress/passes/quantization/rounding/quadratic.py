"""A layer's rounding problem as one quadratic form.

With rows P (n x c; a column of ones where a bias is free), weights W0 and targets Y the wanted weights are

    W* = argmin |P W - Y|^2 + lambda |W - W0|_D^2 = W0 + A^-1 P^T (Y - P W0),    D = diag(P^T P),  A = P^T P + lambda D

and for any other W the sum exceeds its least value by tr (W - W*)^T A (W - W*): rounding W* in the metric A is the
whole problem. The bias is free and drawn to nothing, so it is eliminated: with A = [B a; a^T d] the weights alone have
the metric B - a a^T / d, and the best bias beside them is b* + a^T (W* - W) / d.

P comes from the student's quantized input and Y from the teacher, so W* makes up for what earlier layers lost: GPTQ
with the asymmetric target. Where a clip follows, a target beyond it is replaced by what the weights give there, if
that is beyond it as well, and W* is found again.

Sources: Frantar et al. 2022 (GPTQ); Li et al. 2025 (GPTAQ, asymmetric calibration); the clip as in
`passes.reconstruction.solve`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.quantization.rounding.rows import Part
from onnxcompress.passes.reconstruction.solve import Normal

_DAMP = 1e-6
"""Least addition to the diagonal, relative to its mean: columns that are always zero."""


@dataclass(frozen=True)
class Quadratic:
    """The rounding problem of a layer.

    Attributes:
        metric: A without the bias, shape (groups, columns, columns).
        wanted: W*, shape (groups, columns, outputs).
        bias: b*, shape (groups, 1, outputs); None without a bias.
        pull: a / d, shape (groups, columns, 1); None without a bias.
    """

    metric: np.ndarray
    wanted: np.ndarray
    bias: np.ndarray | None = None
    pull: np.ndarray | None = None

    def with_bias(self, weight: np.ndarray) -> np.ndarray:
        """The weights and, as last column, the best bias beside them; the weights alone where none is free."""
        if self.bias is None or self.pull is None:
            return weight
        bias = self.bias + self.pull.transpose(0, 2, 1) @ (self.wanted - weight)
        return np.concatenate([weight, bias], axis=1)

    def error(self, weight: np.ndarray) -> np.ndarray:
        """Excess of the sum over its least value, each group and output: shape (groups, outputs)."""
        off = self.wanted - weight
        return np.einsum("gcr,gcr->gr", off, self.metric @ off)


class Equations:
    """Normal equations of the rows that fit, for any ridge.

    Args:
        part: The rows.
        start: W0, with the bias as last column where it is free; shape (groups, columns, outputs).
        free: Whether the last column is a bias.
    """

    def __init__(self, part: Part, start: np.ndarray, *, free: bool) -> None:
        self._part, self._start, self._free = part, start, free
        normal = Normal(*start.shape)
        normal.add(part.p, part.y - part.outputs(start))
        self._gram, self._cross = normal.gram, normal.cross

    def quadratic(self, ridge: float, *, revisions: int = 0) -> Quadratic:
        """The problem for the ridge lambda; targets beyond a clip are revised so often."""
        metric = self._damped(ridge)
        wanted = self._start + np.linalg.solve(metric, self._cross)
        for _ in range(revisions if self._part.clipped else 0):
            more = self._part.p.transpose(0, 2, 1) @ (self._part.reachable(wanted) - self._part.y)
            wanted = self._start + np.linalg.solve(metric, self._cross + more)
        return _without_bias(metric, wanted) if self._free else Quadratic(metric, wanted)

    def _damped(self, ridge: float) -> np.ndarray:
        metric = self._gram.copy()
        diagonal = np.einsum("gii->gi", metric)
        floor = _DAMP * diagonal.mean(axis=1, keepdims=True) + 1e-12
        more = ridge * diagonal + floor
        if self._free:
            more[:, -1:] = floor
        diagonal += more
        return metric


def _without_bias(metric: np.ndarray, wanted: np.ndarray) -> Quadratic:
    across, own = metric[:, :-1, -1:], metric[:, -1:, -1:]
    alone = metric[:, :-1, :-1] - across @ across.transpose(0, 2, 1) / own
    return Quadratic(alone, wanted[:, :-1], wanted[:, -1:], across / own)
