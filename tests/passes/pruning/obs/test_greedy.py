from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcompress.passes.pruning.obs.greedy import Elimination, _inverse, eliminate


def problem(seed: int, units: int, width: int, outputs: int, extra: int = 1):
    """A, W and the columns of each unit, in shuffled places; `extra` columns belong to no unit."""
    rng = np.random.default_rng(seed)
    n = units * width + extra
    rows = rng.normal(size=(3 * n, n)) @ rng.normal(size=(n, n))
    hessian = rows.T @ rows / len(rows) + 0.1 * np.eye(n)
    columns = rng.permutation(n)[: units * width].reshape(units, width)
    return hessian, rng.normal(size=(n, outputs)), columns


def least_error(hessian: np.ndarray, weight: np.ndarray, gone: np.ndarray) -> float:
    """The exact minimum of tr((V - W)^T A (V - W)) over V with V[gone] = 0, by one solve."""
    keep = np.setdiff1d(np.arange(len(hessian)), gone)
    best = np.zeros_like(weight)
    best[keep] = np.linalg.solve(hessian[np.ix_(keep, keep)], (hessian @ weight)[keep])
    return float(np.trace((best - weight).T @ hessian @ (best - weight)))


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4), st.integers(1, 30))
def test_a_cost_is_the_best_single_removal(seed, units, width, outputs):
    hessian, weight, columns = problem(seed, units, width, outputs)
    costs = Elimination(hessian, weight, columns).costs()
    exact = [least_error(hessian, weight, columns[unit]) for unit in range(units)]
    np.testing.assert_allclose(costs, exact, rtol=1e-7)


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 3), st.integers(1, 20))
def test_the_running_error_is_the_exact_residual(seed, units, width, outputs):
    hessian, weight, columns = problem(seed, units, width, outputs)
    order, added = eliminate([Elimination(hessian, weight, columns)], np.arange(units)[None], choose=True)
    for count in range(1, units + 1):
        exact = least_error(hessian, weight, columns[order[0, :count]].ravel())
        assert added[:count].sum() == pytest.approx(exact, rel=1e-7)


@given(st.integers(0, 10_000))
def test_every_step_is_the_cheapest_of_what_is_left_over_all_readers(seed):
    first, second = problem(seed, 5, 2, 3), problem(seed + 1, 5, 3, 4)
    order, added = eliminate([Elimination(*first), Elimination(*second)], np.arange(5)[None], choose=True)

    def both(gone: list[int]) -> float:
        return sum(least_error(a, w, columns[gone].ravel()) for a, w, columns in (first, second))

    gone: list[int] = []
    for unit, cost in zip(order[0].tolist(), added.tolist(), strict=True):
        least = min(both([*gone, other]) for other in range(5) if other not in gone)
        assert both([*gone, unit]) == pytest.approx(least, rel=1e-6)
        assert cost == pytest.approx(both([*gone, unit]) - both(gone), rel=1e-5, abs=1e-9)
        gone.append(unit)


def test_the_greedy_choice_is_near_the_best_pair():
    hessian, weight, columns = problem(3, 7, 2, 5)
    order, added = eliminate([Elimination(hessian, weight, columns)], np.arange(7)[None], choose=True)
    pairs = itertools.combinations(range(7), 2)
    assert added[:2].sum() <= 1.5 * min(least_error(hessian, weight, columns[list(pair)].ravel()) for pair in pairs)
    assert sorted(order[0]) == list(range(7))


def test_a_given_order_is_followed_and_measured():
    hessian, weight, columns = problem(5, 4, 2, 3)
    order, added = eliminate([Elimination(hessian, weight, columns)], np.array([[2, 0, 3, 1]]), choose=False)
    assert order.tolist() == [[2, 0, 3, 1]]
    assert added[:2].sum() == pytest.approx(least_error(hessian, weight, columns[[2, 0]].ravel()))


def test_rows_give_one_unit_each_step():
    hessian, weight, columns = problem(6, 6, 1, 2)
    order, _ = eliminate([Elimination(hessian, weight, columns)], np.array([[0, 1, 2], [3, 4, 5]]), choose=True)
    assert sorted(order[0]) == [0, 1, 2]
    assert sorted(order[1]) == [3, 4, 5]


def test_units_of_unequal_width_and_units_that_are_not_read():
    hessian, weight, _ = problem(8, 5, 1, 3)
    columns = np.array([[0, 3], [1, -1], [-1, -1]])
    state = Elimination(hessian, weight, columns)
    exact = [least_error(hessian, weight, np.array(at, int)) for at in ([0, 3], [1], [])]
    np.testing.assert_allclose(state.costs(), exact, atol=1e-9)
    assert state.remove(2) == 0.0
    assert state.remove(0) == pytest.approx(exact[0])
    left = least_error(hessian, weight, np.array([0, 1, 3])) - exact[0]
    np.testing.assert_allclose(state.costs(), [0, left, 0], atol=1e-9)


def test_a_column_that_is_always_zero_goes_first_and_for_nothing():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 4))
    rows[:, 2] = 0
    hessian = rows.T @ rows / 50 + 1e-9 * np.eye(4)
    state = Elimination(hessian, rng.normal(size=(4, 3)), np.arange(4)[:, None])
    order, added = eliminate([state], np.arange(4)[None], choose=True)
    assert order[0, 0] == 2
    assert added[0] < 1e-6
    assert np.isfinite(added).all()


def test_the_curve_is_the_error_on_samples_held_out():
    """8 columns from 5 samples: in the fit the last columns come for nothing, on other samples they do not."""
    rng = np.random.default_rng(4)
    mix = rng.normal(size=(8, 8))
    few, other = rng.normal(size=(5, 8)) @ mix, rng.normal(size=(500, 8)) @ mix
    hessian, held = few.T @ few / 5 + 1e-4 * np.eye(8), other.T @ other / 500
    weight, columns = rng.normal(size=(8, 3)), np.arange(8)[:, None]
    order, plain = eliminate([Elimination(hessian, weight, columns)], np.arange(8)[None], choose=True)
    same, added = eliminate([Elimination(hessian, weight, columns, held)], np.arange(8)[None], choose=True)
    assert np.array_equal(order, same)
    worst = 0.0
    for count in range(1, 9):
        keep = np.setdiff1d(np.arange(8), order[0, :count])
        change = -weight.copy()
        change[keep] += np.linalg.solve(hessian[np.ix_(keep, keep)], (hessian @ weight)[keep])
        worst = max(worst, float(np.trace(change.T @ held @ change)))
        assert added[:count].sum() == pytest.approx(worst, rel=1e-6)
    assert added[:3].sum() > 10 * plain[:3].sum()


def test_between_marks_the_error_is_shared_out_by_the_costs():
    hessian, weight, columns = problem(9, 40, 1, 3)
    held = hessian * 2
    _, plain = eliminate([Elimination(hessian, weight, columns)], np.arange(40)[None], choose=True)
    _, added = eliminate([Elimination(hessian, weight, columns, held)], np.arange(40)[None], choose=True)
    np.testing.assert_allclose(added, 2 * plain, rtol=1e-6)


def test_many_steps_stay_exact():
    """More columns than are taken off the inverse at once."""
    hessian, weight, columns = problem(10, 100, 3, 4)
    order, added = eliminate([Elimination(hessian, weight, columns)], np.arange(100)[None], choose=True)
    for count in (1, 40, 43, 44, 86, 99):
        exact = least_error(hessian, weight, columns[order[0, :count]].ravel())
        assert added[:count].sum() == pytest.approx(exact, rel=1e-7)


def test_the_error_on_samples_held_out_is_taken_at_a_dozen_places():
    class Counted(Elimination):
        taken = 0

        def error(self) -> float:
            self.taken += 1
            return super().error()

    hessian, weight, columns = problem(11, 60, 1, 3)
    reader = Counted(hessian, weight, columns, hessian)
    eliminate([reader], np.arange(60)[None], choose=True)
    assert reader.taken == 12


def test_a_wide_matrix_is_inverted_by_halves():
    hessian, _, _ = problem(12, 1101, 1, 1)
    inverse = _inverse(hessian)
    np.testing.assert_array_equal(inverse, inverse.T)
    np.testing.assert_allclose(inverse @ hessian, np.eye(len(hessian)), atol=1e-6)


def test_a_wide_reader_is_judged_on_samples_held_out_as_well():
    hessian, weight, columns = problem(13, 1030, 1, 2)
    reader = Elimination(hessian, weight, columns[:200], hessian)
    costs = sum(reader.remove(unit) for unit in range(200))
    assert reader.error() == pytest.approx(costs, rel=1e-4)
