from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcompress.passes.quantization.rounding.nearest_plane import Levels, round_on_grid
from onnxcompress.passes.quantization.rounding.quadratic import Quadratic
from onnxcompress.passes.quantization.rounding.rescaling import rescaled, rounded


def problem(seed: int, groups: int, columns: int, outputs: int, limit: int = 7) -> tuple[Quadratic, Levels]:
    """A metric of correlated inputs, weights, and a symmetric grid for each output."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(groups, columns, columns)) + 1.5
    rows = generator.normal(size=(groups, 3 * columns + 5, columns)) @ mixing
    metric = rows.transpose(0, 2, 1) @ rows + 1e-3 * np.eye(columns)
    weight = generator.normal(size=(groups, columns, outputs))
    scale = np.broadcast_to(np.abs(weight).max(axis=1, keepdims=True) / limit, weight.shape)
    return Quadratic(metric, weight), Levels(scale, np.array(-limit), np.array(limit))


sizes = {"seed": st.integers(0, 2**20), "groups": st.integers(1, 3), "columns": st.integers(1, 70)}


@settings(deadline=None, max_examples=40)
@given(**sizes, outputs=st.integers(1, 4), limit=st.sampled_from([1, 7, 127]))
def test_never_worse_than_to_nearest_and_within_the_limits(seed, groups, columns, outputs, limit):
    task, levels = problem(seed, groups, columns, outputs, limit)
    found = rounded(task, levels, 3)
    nearest = task.error(levels.nearest(task.wanted) * levels.scale)
    assert np.abs(found.numbers).max() <= limit and np.array_equal(found.numbers, np.rint(found.numbers))
    assert (found.error <= nearest).all()


@settings(deadline=None, max_examples=25)
@given(**sizes, outputs=st.integers(1, 3))
def test_coordinate_descent_never_raises_the_error_and_ends_where_no_single_integer_can_move(
    seed, groups, columns, outputs
):
    task, levels = problem(seed, groups, columns, outputs)
    found = [round_on_grid(task.metric, task.wanted, levels, sweeps) for sweeps in (0, 1, 2, 50)]
    errors = [task.error(numbers * levels.scale) for numbers in found]
    for before, after in itertools.pairwise(errors):
        assert (after <= before + 1e-9 * np.abs(before)).all()
    for step in (-1.0, 1.0):
        for column in range(columns):
            moved = found[-1].copy()
            moved[:, column] = np.clip(moved[:, column] + step, -7, 7)
            assert (task.error(moved * levels.scale) >= errors[-1] * (1 - 1e-9)).all()


@settings(deadline=None, max_examples=25)
@given(**sizes, outputs=st.integers(1, 3))
def test_weights_that_lie_on_the_grid_are_found(seed, groups, columns, outputs):
    task, levels = problem(seed, groups, columns, outputs)
    numbers = np.random.default_rng(seed).integers(-7, 8, size=task.wanted.shape).astype(float)
    exact = Quadratic(task.metric, numbers * levels.scale)
    assert np.array_equal(round_on_grid(exact.metric, exact.wanted, levels, 1), numbers)


@settings(deadline=None, max_examples=25)
@given(**sizes, outputs=st.integers(1, 3))
def test_the_order_of_the_columns_makes_no_difference(seed, groups, columns, outputs):
    task, levels = problem(seed, groups, columns, outputs)
    order = np.random.default_rng(seed + 1).permutation(columns)
    turned = round_on_grid(task.metric[:, order][:, :, order], task.wanted[:, order], levels, 0)
    assert np.array_equal(turned, round_on_grid(task.metric, task.wanted, levels, 0)[:, order])


def test_few_weights_come_near_to_the_best_of_all_integers():
    task, levels = problem(4, 1, 4, 1, limit=2)
    every = np.array(list(itertools.product(range(-2, 3), repeat=4)), float).T[None]
    grid = np.broadcast_to(levels.scale, (1, 4, every.shape[2]))
    wanted = Quadratic(task.metric, np.broadcast_to(task.wanted, every.shape))
    best = wanted.error(every * grid).min()
    nearest = float(task.error(levels.nearest(task.wanted) * levels.scale)[0, 0])
    found = float(rounded(task, levels, 3).error[0, 0])
    assert best <= found < nearest and found < 2 * best


def test_blocks_of_columns_hold_their_limits_and_zero_points():
    """Limits that differ from element to element, as unsigned integers with zero points have."""
    task, levels = problem(5, 2, 30, 3)
    low = np.broadcast_to(np.array([0.0, -3.0, -7.0]), task.wanted.shape)
    found = round_on_grid(task.metric, task.wanted, Levels(levels.scale, low, low + 7), 2)
    assert (found >= low).all() and (found <= low + 7).all()


@settings(deadline=None, max_examples=15)
@given(**sizes, outputs=st.integers(1, 3))
def test_scales_chosen_anew_never_cost_and_stay_above_the_least(seed, groups, columns, outputs):
    task, levels = problem(seed, groups, columns, outputs)
    least = levels.scale[:, :1] * 0.7
    found, plain = rescaled(task, levels, least, 2), rounded(task, levels, 2)
    assert (found.error <= plain.error).all()
    assert (found.levels.scale >= least * (1 - 1e-6)).all() and not np.ptp(found.levels.scale, axis=1).any()


def test_a_wide_grid_is_narrowed():
    """An outlier in the weights that hardly any input meets: the others want smaller steps."""
    task, levels = problem(7, 1, 20, 1)
    metric, weight = task.metric.copy(), task.wanted.copy()
    metric[:, 0, :], metric[:, :, 0] = 0, 0
    metric[:, 0, 0], weight[:, 0] = 1e-6, 20.0
    wide = Levels(np.full_like(levels.scale, 20 / 7), levels.low, levels.high)
    outlier = Quadratic(metric, weight)
    assert rescaled(outlier, wide, np.array(0.0), 2).error < 0.7 * rounded(outlier, wide, 2).error
