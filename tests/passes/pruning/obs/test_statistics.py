"""Sums of a reader's rows."""

from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.pruning.obs.readers import Reader, _PlainRows
from onnxcompress.passes.pruning.obs.statistics import RIDGES, Moments, _least


def reader(columns: int, outputs: int = 3) -> Reader:
    weight = np.random.default_rng(0).normal(size=(1, columns, outputs))
    return Reader("node", ("x",), "", np.arange(columns)[None], weight, _PlainRows("x"))


@pytest.mark.parametrize(("columns", "tolerance"), [(40, 1e-13), (1030, 1e-5)])
def test_moments_are_those_of_all_rows_however_they_come(columns: int, tolerance: float) -> None:
    """Rows of wide readers wait for others and are multiplied as float32; narrow ones are exact."""
    rows = np.random.default_rng(1).normal(1.0, 2.0, size=(1, 6000, columns)).astype(np.float32)
    moments = Moments(reader(columns))
    for part in np.array_split(rows, 7, axis=1):
        moments.add(part, None)
    moments.settle()
    wide = rows[0].astype(np.float64)
    gram = wide.T @ wide / len(wide)
    np.testing.assert_allclose(moments.mean_gram()[0], gram, atol=tolerance * float(gram.diagonal().mean()))
    np.testing.assert_allclose(moments.total[0], wide.sum(axis=0), rtol=1e-12)
    fed = wide @ reader(columns).weight[0]
    assert moments.variance() == pytest.approx(float(fed.var(axis=0).sum()), rel=10 * tolerance)


@pytest.mark.parametrize("best", RIDGES)
def test_the_ridge_is_found_downhill(best: float) -> None:
    looks: list[float] = []

    def error(ridge: float) -> float:
        looks.append(ridge)
        return abs(np.log10(ridge) - np.log10(best)) + 1.0

    assert _least(error) == best
    assert len(looks) <= len(RIDGES)
    assert len(looks) == len(set(looks))
