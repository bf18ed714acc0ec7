"""The scales that are tried for the classes of one part, and the choice among them.

With a the largest magnitude of a class in the tensors, w in the columns of the weights that read it, and p in the rows
of the weights that make it:

    smooth       s = a^alpha / w^(1 - alpha)     migrates ranges between tensor and readers (Xiao et al. 2022)
    cross-layer  s = sqrt(p / w)                 evens out two weights (Nagel et al. 2019)

each also at half strength where alpha is not given. Scales are relative to their median, and powers of two, which leave
a float's mantissa as it is. What leaves the least noise is taken, if it beats what is there clearly.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.quantization.equalization.problem import Problem

_ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
_STRENGTHS = (0.5, 1.0)
_CLEARLY = 0.97  # of the noise that is there
_MOST = 10  # powers of two away from the median


def tried(problem: Problem, part: Ids, method: str, alpha: float) -> Iterator[np.ndarray]:
    """Scales for the classes of `part`, in a fixed order; `alpha` below 0 tries several."""
    tensors, rows, columns = (problem.noted[key][part] for key in ("tensors", "rows", "columns"))
    held, least = problem.limits.held[part], problem.limits.least[part]
    if method in ("smooth", "auto"):
        for share in _ALPHAS if alpha < 0 else (alpha,):
            known = tensors > 0
            base = _log(tensors, known) * share - _log(columns, known & (columns > 0)) * (1 - share)
            strengths = _STRENGTHS if alpha < 0 else (1.0,)
            yield from (_settled(base * strength, known, held, least) for strength in strengths)
    if method in ("cross-layer", "auto"):
        known = (rows > 0) & (columns > 0)
        base = (_log(rows, known) - _log(columns, known)) / 2
        yield from (_settled(base * strength, known, held, least) for strength in _STRENGTHS)


def _log(sizes: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.log2(np.where(known, sizes, 1.0))


def _settled(exponents: np.ndarray, known: np.ndarray, held: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Powers of two around 1, or around what is held at 1, within the limits; 1 for what nothing is known of."""
    anchors = known & held if (known & held).any() else known
    if not anchors.any():
        return np.ones(len(exponents))
    around = np.maximum(np.round(exponents - np.median(exponents[anchors])), least)
    return np.where(known & ~held, np.exp2(np.clip(around, -_MOST, _MOST)), 1.0)


def choose(problem: Problem, part: Ids, scales: np.ndarray, method: str, alpha: float) -> tuple[float, float]:
    """Set `scales` (by atom) of the classes of `part` to the best that was tried.

    Returns:
        The noise before and after, in units of the power of what the nodes yield.
    """
    before = problem.noise(part, scales)
    best, least = scales[part], before * _CLEARLY
    for candidate in tried(problem, part, method, alpha):
        trial = scales.copy()
        trial[part] = candidate
        noise = problem.noise(part, trial)
        if noise < least:
            best, least = candidate, noise
    scales[part] = best
    return before, problem.noise(part, scales)
