from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnxcompress.passes.sparsifying.global_ import kth_smallest, shares
from onnxcompress.passes.sparsifying.histogram import count_below
from onnxcompress.passes.sparsifying.smallest import smallest
from onnxcompress.passes.sparsifying.threshold import below, fraction

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=20_000).astype(np.float32)
HEAPS = np.concatenate([RNG.normal(0, 0.02, 6_000), RNG.normal(1, 0.1, 4_000)])


def loads(*layers: np.ndarray):
    return [lambda layer=layer: np.abs(layer) for layer in layers]


def test_exactly_as_many_go_as_asked_whatever_is_equal():
    scores = np.array([[1.0, 0.0, 1.0], [1.0, 2.0, 1.0]])
    for count in range(7):
        mask = smallest(scores, count)
        assert mask.sum() == count
        assert scores[mask].sum() == np.sort(scores.ravel())[:count].sum()
    assert smallest(scores, 2).tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize(
    ("size", "sparsity", "count"),
    [(10, 0.0, 0), (10, 0.7, 7), (10, 0.69, 6), (10, 0.999999, 9), (3, 1 / 3, 1), (1, 0.99, 0), (1000, 0.29, 290)],
)
def test_a_fraction_never_overshoots(size, sparsity, count):
    assert fraction(size, sparsity) == count


def test_the_limit_of_a_threshold_is_read_in_the_weights_own_type():
    limit = np.nextafter(np.float32(0.1), np.float32(1))
    assert below(np.array([0.1, limit], np.float32), 0.1) == 0
    assert below(np.array([0.05, 0.1], np.float32), float(limit)) == 2


@pytest.mark.parametrize("count", [1, 2, 5_000, 19_999, 20_000])
def test_the_kth_smallest_of_all_layers_is_exact(count):
    parts = np.array_split(NORMAL, 7)
    limit = np.uint32(kth_smallest(loads(*parts), count)).view(np.float32)
    assert limit == np.sort(np.abs(NORMAL))[count - 1]


@pytest.mark.parametrize("count", [0, 1, 7, 10_001, 20_000])
def test_all_layers_give_together_what_is_asked(count):
    parts = np.array_split(NORMAL, 7)
    given = shares(loads(*parts), count)
    whole = smallest(np.abs(NORMAL), count)
    assert given == [int(part.sum()) for part in np.array_split(whole, 7)]


def test_equal_weights_go_from_the_first_layer_on():
    assert shares(loads(np.ones(4), np.array([0.5, 1.0]), np.ones(3)), 6) == [4, 2, 0]
    assert shares(loads(np.zeros(4), np.zeros(2)), 5) == [4, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.9])
def test_the_percentile_comes_near_and_never_beyond(dtype, sparsity):
    count, valley = count_below(NORMAL.astype(dtype), sparsity, "percentile")
    assert not valley
    assert sparsity - 0.02 <= count / NORMAL.size <= sparsity


def test_two_heaps_are_parted_in_the_valley():
    count, valley = count_below(HEAPS, 0.8, "valley")
    assert (count, valley) == (pytest.approx(6_000, abs=60), True)
    negative = count_below(-HEAPS, 0.8, "valley")
    assert negative == (count, True)


def test_the_percentile_ignores_the_valley():
    assert count_below(HEAPS, 0.8, "percentile")[0] == pytest.approx(8_000, abs=60)


def test_one_heap_has_no_valley():
    assert count_below(NORMAL, 0.5, "valley") == count_below(NORMAL, 0.5, "percentile")


def test_the_sparsity_is_a_ceiling_for_the_valley():
    count, valley = count_below(HEAPS, 0.3, "valley")
    assert not valley
    assert 2_900 <= count <= 3_000


@pytest.mark.parametrize("number", [0.0, 1.0, -1e-30, 1e30])
def test_weights_that_are_all_alike_go_or_stay_together(number):
    count, _ = count_below(np.full(10, number, np.float32), 0.5, "valley")
    assert count == 0
