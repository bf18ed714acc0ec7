"""Weight scales chosen anew, one for each output, by the error of the rounded weights in the layer's metric.

Every factor of a short list is tried on every output at once, the weights rounded by `nearest_plane` each time. Then,
with the integers q held, the best scale is the minimum of a parabola,

    s <- s (q s)^T A w* / (q s)^T A (q s),

and the weights are rounded again. An output keeps what had the least error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.quantization.rounding.nearest_plane import Levels, round_on_grid
from onnxcompress.passes.quantization.rounding.quadratic import Quadratic

_FACTORS = (0.92, 0.84, 0.76, 0.68, 0.6)
_REFITS = 2


@dataclass(frozen=True)
class Rounded:
    """Integers and the grid they stand on.

    Attributes:
        numbers: Shape (groups, columns, outputs), float64.
        levels: The grid.
        error: Error in the metric, each group and output.
    """

    numbers: np.ndarray
    levels: Levels
    error: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """The weights that they stand for."""
        return self.numbers * self.levels.scale

    def or_better(self, other: Rounded) -> Rounded:
        """Each output from the one with the less error."""
        better = other.error < self.error
        wide = better[:, None, :]
        scale = np.where(wide, other.levels.scale, self.levels.scale)
        levels = Levels(scale, self.levels.low, self.levels.high)
        numbers = np.where(wide, other.numbers, self.numbers)
        return Rounded(numbers, levels, np.where(better, other.error, self.error))


def rounded(problem: Quadratic, levels: Levels, sweeps: int) -> Rounded:
    """The weights on the grid as it is; no output's error is larger than that of rounding to nearest."""
    nearest, found = levels.nearest(problem.wanted), round_on_grid(problem.metric, problem.wanted, levels, sweeps)
    first, second = (Rounded(n, levels, problem.error(n * levels.scale)) for n in (nearest, found))
    return second.or_better(first)


def rescaled(problem: Quadratic, levels: Levels, least: np.ndarray, sweeps: int) -> Rounded:
    """The weights on a grid whose steps are chosen too.

    Args:
        problem: The layer's problem.
        levels: The grid as it is; one scale an output.
        least: Smallest scales allowed, shape (groups, 1, outputs).
        sweeps: Rounds of coordinate descent.
    """
    best = rounded(problem, levels, sweeps)
    for factor in _FACTORS:
        best = best.or_better(rounded(problem, _wider(levels, np.array(factor), least), sweeps))
    for _ in range(_REFITS):
        best = best.or_better(rounded(problem, _wider(best.levels, _parabola(problem, best), least), sweeps))
    return best


def _wider(levels: Levels, factor: np.ndarray, least: np.ndarray) -> Levels:
    scale = np.maximum(levels.scale * factor, least).astype(np.float32)  # as it will be stored
    return Levels(scale.astype(np.float64), levels.low, levels.high)


def _parabola(problem: Quadratic, found: Rounded) -> np.ndarray:
    """The best factor of each output's scale beside its integers, shape (groups, 1, outputs)."""
    turned = problem.metric @ found.weight
    across, own = (np.einsum("gcr,gcr->gr", turned, w) for w in (problem.wanted, found.weight))
    factor = np.divide(across, own, out=np.ones_like(own), where=own > 0)
    return np.clip(factor, 0.5, 2.0)[:, None, :]
