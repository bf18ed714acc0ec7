"""How far outputs are from the float model's.

    e = mean over outputs of  sum ||y' - y||^2 / sum ||y - mean(y)||^2

with the mean of each output's entry over the samples: what is the same for every sample (anchors of a detector, the
common direction of embeddings, a bias) decides nothing and does not hide an error. Where there is but one sample, or
an output hardly depends on it, the plain energy stands below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Runs = Sequence[Sequence[np.ndarray]]
"""For each run, the compared tensors."""

_LEAST_SPREAD = 1e-4  # of the energy: below this an output counts as the same for every sample


class Reference:
    """The float model's outputs.

    Args:
        runs: For each run, the compared tensors, float64.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._scale = [_spread([run[i] for run in runs]) for i in range(len(runs[0]) if runs else 0)]

    def error(self, runs: Runs) -> float:
        """Mean over the outputs of the squared relative error; infinite where a number is not finite."""
        parts = [
            sum(float(np.square(y[i] - w[i]).sum()) for y, w in zip(runs, self._runs, strict=True)) / scale
            for i, scale in enumerate(self._scale)
            if scale > 0
        ]
        found = float(np.mean(parts)) if parts else 0.0
        return found if np.isfinite(found) else np.inf

    def agreement(self, runs: Runs) -> float:
        """Share of samples whose largest entry stays, of outputs [samples, classes]; 1 where there is none."""
        same = total = 0
        for y, w in zip(runs, self._runs, strict=True):
            for mine, wanted in zip(y, w, strict=True):
                if wanted.ndim == 2 and wanted.shape[1] > 1:
                    same += int((mine.argmax(1) == wanted.argmax(1)).sum())
                    total += len(wanted)
        return same / total if total else 1.0


def _spread(parts: Sequence[np.ndarray]) -> float:
    energy = sum(float(np.square(p).sum()) for p in parts)
    shapes = {p.shape[1:] for p in parts if p.ndim}
    if len(shapes) != 1 or any(not p.ndim for p in parts):
        return energy
    stacked = np.concatenate(parts)
    spread = float(np.square(stacked - stacked.mean(axis=0)).sum()) if len(stacked) > 1 else 0.0
    return spread if spread > _LEAST_SPREAD * energy else energy
