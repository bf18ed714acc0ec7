from __future__ import annotations

import math

import numpy as np
import pytest
from builders.runtime_models import normal

from onnxcompress.verify import Distance
from onnxcompress.verify.intervals import jackknife, paired_difference, proportion


def distance(first, second):
    found = Distance()
    found.add(np.asarray(first), np.asarray(second))
    return found.result()


def test_figures_match_their_formulas():
    first = normal(50)
    second = first + 0.01 * normal(50, seed=1)
    found = distance(first, second)
    a, b = first.astype(np.float64), second.astype(np.float64)
    assert found.max_abs == np.abs(a - b).max()
    assert found.relative_l2 == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a))
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert found.sqnr_db == pytest.approx(10 * math.log10((a @ a) / ((a - b) @ (a - b))))


def test_streaming_gives_the_same_as_one_piece():
    first, second = normal(90), normal(90, seed=1)
    parts = Distance()
    for start in range(0, 90, 30):
        parts.add(first[start : start + 30], second[start : start + 30])
    whole = distance(first, second)
    assert parts.result().relative_l2 == pytest.approx(whole.relative_l2, rel=1e-12)
    assert parts.result().max_abs == whole.max_abs


def test_equal_tensors_have_infinite_sqnr():
    found = distance([1.0, 2.0], [1.0, 2.0])
    assert (found.max_abs, found.relative_l2, found.cosine, found.equal) == (0, 0, pytest.approx(1), 1)
    assert found.sqnr_db == math.inf


def test_nan_and_infinity_in_both_are_equal_in_one_are_not():
    nan, inf = math.nan, math.inf
    assert distance([nan, inf, 1.0], [nan, inf, 1.0]).max_abs == 0
    assert distance([nan, 1.0], [0.0, 1.0]).max_abs == inf
    assert distance([inf, 1.0], [-inf, 1.0]).max_abs == inf


def test_zero_reference():
    assert distance([0.0, 0.0], [0.0, 0.0]).relative_l2 == 0
    assert distance([0.0, 0.0], [0.0, 1.0]).relative_l2 == math.inf


def test_integers_count_equal_elements():
    assert distance(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])).equal == 0.75
    assert distance(np.array([2**62]), np.array([0])).max_abs == 2.0**62


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match="became"):
        distance([1.0], [1.0, 2.0])


def test_wilsons_interval():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    low, high = proportion(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert proportion(10, 10)[1] == 1.0
    assert proportion(0, 0) == (0.0, 1.0)


def test_paired_interval_covers_the_truth():
    draw = np.random.Generator(np.random.PCG64(0))
    lost, won = 0.06, 0.03
    covered = 0
    for _ in range(2000):
        counts = draw.multinomial(200, [lost, won, 1 - lost - won])
        low, high = paired_difference(int(counts[0]), int(counts[1]), 200)
        covered += low <= won - lost <= high
    assert 0.94 <= covered / 2000 <= 0.98


def test_jackknife_of_a_mean_is_close_to_the_normal_interval():
    values = normal(1000).astype(np.float64)
    low, high = jackknife(lambda rows: float(values[rows].mean()), 1000, float(values.mean()))
    expected = 1.96 * values.std() / math.sqrt(1000)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.6)
    assert low < values.mean() < high
    assert jackknife(lambda rows: 0.0, 19, 0.0) is None
