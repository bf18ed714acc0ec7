from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.pruning.allocate import exact, uniform, uniform_to, walk_to
from onnxcompress.passes.pruning.budget import Pieces, Product
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.steps import Floor, stops


def cell(importance, start=0, rows=1):
    columns = len(importance)
    order = start + np.arange(rows * columns).reshape(rows, columns)
    return Cell(order, np.array(importance, float), columns, (), rows)


def budget_of(cells, prices):
    """Cell i's columns cost `prices[i]` each."""
    size = 1 + max(int(c.order.max()) for c in cells)
    products = [(price * c.width, [c.order.ravel()]) for price, c in zip(prices, cells, strict=True)]
    return Pieces(cells, 0.0, [Product(cost, axes) for cost, axes in products], size)


def all_stops(cells, multiple=1, floor=None):
    return [stops(c, multiple, floor or Floor(), strict=multiple > 1) for c in cells]


def test_a_dear_beginning_does_not_hide_a_cheap_end():
    """Cell 0: 3 for its first column, nothing for the next six. Cell 1: 1 a column."""
    cells = [cell([3.0, 0, 0, 0, 0, 0, 0, 9]), cell([1.0] * 8, start=8)]
    budget = budget_of(cells, [1.0, 1.0])
    assert walk_to(cells, budget, 9.0, all_stops(cells)).tolist() == [7, 0]


def test_the_walk_follows_importance_per_cost():
    cells = [cell([1.0] * 8), cell([1.0] * 8, start=8)]
    assert walk_to(cells, budget_of(cells, [1.0, 3.0]), 20.0, all_stops(cells)).tolist() == [0, 4]


def test_the_curve_decides_who_is_rounded_down():
    """Both want to keep 10 of 16 at multiples of 4: one keeps 8, the other 12; the flat one gives more."""
    flat, steep = [0.1] * 16, [5.0] * 16
    for first, second, kept in ((flat, steep, [8, 12]), (steep, flat, [12, 8])):
        cells = [cell(first), cell(second, start=16)]
        counts = uniform(cells, budget_of(cells, [1.0, 1.0]), [0.375, 0.375], all_stops(cells, 4))
        assert (16 - counts).tolist() == kept


def test_a_layer_that_would_overshoot_is_passed_over():
    """The step of the dear cell is too large for what is left; that of the cheap one is not."""
    cells = [cell([0.1] * 16), cell([0.2] * 16, start=16)]
    counts = uniform(cells, budget_of(cells, [100.0, 10.0]), [0.27, 0.4], all_stops(cells, 4))
    assert counts.tolist() == [4, 8]


def test_a_rate_without_multiples_is_the_nearest_count():
    cells = [cell([1.0] * 10), cell([1.0] * 7, start=10)]
    assert uniform(cells, budget_of(cells, [1, 1]), [0.33, 0.5], all_stops(cells)).tolist() == [3, 3]
    assert exact(cells, [0.99, 0.0], all_stops(cells)).tolist() == [9, 0]


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("reach", [uniform_to, walk_to])
def test_goals_hold_and_nothing_that_fits_is_left_out(reach, multiple):
    rng = np.random.default_rng(1)
    cells = [cell(np.sort(rng.random(24)), start=24 * i) for i in range(6)]
    budget = budget_of(cells, rng.uniform(1, 9, 6))
    goal, limits = 0.55 * budget.whole, all_stops(cells, multiple)
    counts = reach(cells, budget, goal, limits)
    assert budget.cost(counts) <= goal
    assert all(n in end for n, end in zip(counts.tolist(), limits, strict=True))
    for i in np.flatnonzero(counts).tolist():
        back = counts.copy()
        back[i] = limits[i][np.searchsorted(limits[i], counts[i]) - 1]
        assert budget.cost(back) > goal


@pytest.mark.parametrize("reach", [uniform_to, walk_to])
def test_a_goal_out_of_reach_gives_all_there_is(reach):
    cells = [cell([1.0] * 10), cell([1.0] * 10, start=10)]
    counts = reach(cells, budget_of(cells, [1.0, 1.0]), 0.5, all_stops(cells, floor=Floor(1, 0.2)))
    assert counts.tolist() == [8, 8]


@pytest.mark.parametrize(
    ("width", "rows", "multiple", "strict", "floor", "kept"),
    [
        (40, 1, 8, False, Floor(), [40, 32, 24, 16, 8]),
        (36, 1, 8, False, Floor(10), [36, 32, 24, 16]),
        (36, 1, 8, False, Floor(1, 0.5), [36, 32, 24]),
        (12, 1, 8, True, Floor(), [12, 8]),
        (6, 1, 8, True, Floor(), [6]),
        (5, 1, 8, False, Floor(), [5, 4, 3, 2, 1]),
        (16, 2, 8, False, Floor(), [16, 12, 8, 4]),
        (5, 3, 2, True, Floor(7), [5, 4]),
    ],
)
def test_stops_are_multiples_of_all_rows_together_above_the_floor(width, rows, multiple, strict, floor, kept):
    found = stops(cell([1.0] * width, rows=rows), multiple, floor, strict=strict)
    assert (width - found).tolist() == kept
