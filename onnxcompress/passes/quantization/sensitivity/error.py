"""How far outputs are from the float model's.

    e = mean over outputs of  ( mean over samples of ||y' - y|| )^2 / ( mean over samples of ||y - mean(y)||^2 )

with the mean of each output's entry over the samples: what is the same for every sample (anchors of a detector, the
common direction of embeddings, a bias) decides nothing and does not hide an error. Where there is but one sample, or
an output hardly depends on it, the plain energy stands below. The distances are averaged before they are squared: in
a recogniser one sample that jumps to another reading would outweigh all others.
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
        counts: Samples of each run; a tensor whose first axis is not the samples counts as one.
    """

    def __init__(self, runs: Runs, counts: Sequence[int]) -> None:
        self._runs, self._counts = runs, counts
        outputs = range(len(runs[0]) if runs else 0)
        self._scale = [_spread([rows(run[i], n) for run, n in zip(runs, counts, strict=True)]) for i in outputs]

    def error(self, runs: Runs) -> float:
        """Mean over the outputs of the squared relative error; infinite where a number is not finite."""
        parts = [self._distance(runs, i) ** 2 / scale for i, scale in enumerate(self._scale) if scale > 0]
        found = float(np.mean(parts)) if parts else 0.0
        return found if np.isfinite(found) else np.inf

    def _distance(self, runs: Runs, i: int) -> float:
        """Mean over the samples of the distance in output `i`."""
        found = [
            np.sqrt(np.square(rows(y[i] - w[i], n)).sum(axis=1))
            for y, w, n in zip(runs, self._runs, self._counts, strict=True)
        ]
        return float(np.concatenate(found).mean())

    @property
    def ranks(self) -> bool:
        """Whether an output is [samples, classes]."""
        return any(_ranks(wanted) for run in self._runs for wanted in run)

    def agreement(self, runs: Runs) -> float:
        """Share of samples whose largest entry stays, of outputs [samples, classes]; 1 where there is none."""
        same = total = 0
        for y, w in zip(runs, self._runs, strict=True):
            for mine, wanted in zip(y, w, strict=True):
                if _ranks(wanted):
                    same += int((mine.argmax(1) == wanted.argmax(1)).sum())
                    total += len(wanted)
        return same / total if total else 1.0


def _ranks(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.shape[1] > 1


def rows(array: np.ndarray, count: int) -> np.ndarray:
    """The tensor with one row a sample; one row where its first axis is not the samples."""
    return array.reshape(count, -1) if array.ndim and len(array) == count else array.reshape(1, -1)


def _spread(parts: Sequence[np.ndarray]) -> float:
    """Mean over the samples of the energy around the mean sample, or of the energy itself."""
    count = sum(len(p) for p in parts)
    energy = sum(float(np.square(p).sum()) for p in parts) / count
    if count < 2 or len({p.shape[1] for p in parts}) != 1:
        return energy
    mean = sum(p.sum(axis=0) for p in parts) / count
    spread = sum(float(np.square(p - mean).sum()) for p in parts) / count
    return spread if spread > _LEAST_SPREAD * energy else energy
