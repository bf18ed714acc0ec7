from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxcompress.passes.pruning.magnitudes import cumulative, magnitudes, valley

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=20_000).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9])
def test_the_cumulative_threshold_hits_the_sparsity(dtype, sparsity):
    weights = NORMAL.astype(dtype)
    limit = cumulative(magnitudes(weights), sparsity)
    assert (np.abs(weights.astype(np.float32)) < limit).mean() == pytest.approx(sparsity, abs=0.01)


def test_histograms_merge_by_adding():
    parts = np.array_split(NORMAL, 7)
    assert np.array_equal(sum(magnitudes(part) for part in parts), magnitudes(NORMAL))


def test_two_heaps_are_parted_in_the_valley():
    heaps = np.concatenate([RNG.normal(0, 0.02, 6_000), RNG.normal(1, 0.1, 4_000)])
    limit = valley(magnitudes(heaps), 0.8)
    assert 0.06 < limit < 0.8
    assert (np.abs(heaps) < limit).mean() == pytest.approx(0.6, abs=0.01)


def test_one_heap_has_no_valley():
    histogram = magnitudes(NORMAL)
    assert valley(histogram, 0.5) == cumulative(histogram, 0.5)


def test_the_sparsity_is_a_ceiling_for_the_valley():
    heaps = np.concatenate([RNG.normal(0, 0.02, 6_000), RNG.normal(1, 0.1, 4_000)])
    limit = valley(magnitudes(heaps), 0.3)
    assert (np.abs(heaps) < limit).mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_moves_no_valley(number):
    heaps = np.concatenate([RNG.normal(0, 0.02, 6_000), RNG.normal(1, 0.1, 4_000)])
    assert valley(magnitudes(np.append(heaps, number)), 0.8) == pytest.approx(valley(magnitudes(heaps), 0.8))
