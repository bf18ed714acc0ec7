from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.sparsifying import second_order
from onnxcompress.passes.sparsifying.n_m import NM
from onnxcompress.passes.sparsifying.second_order import eliminate
from onnxcompress.passes.sparsifying.smallest import smallest


def problem(groups: int = 1, rows: int = 6, columns: int = 24, samples: int = 400, seed: int = 3):
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(groups, columns, columns)) / np.sqrt(columns) + 0.5
    x = rng.normal(size=(groups, samples, columns)) @ mix
    weight = rng.normal(size=(groups, rows, columns))
    target = x @ weight.transpose(0, 2, 1)
    return weight, x, target


def moments(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turned = x.transpose(0, 2, 1)
    return turned @ x, turned @ target


def loss(weight: np.ndarray, x: np.ndarray, target: np.ndarray) -> float:
    return float(np.square(x @ weight.transpose(0, 2, 1) - target).sum() / np.square(target).sum())


def by_magnitude(weight: np.ndarray, wanted: int | NM) -> np.ndarray:
    mask = smallest(np.abs(weight), wanted) if isinstance(wanted, int) else wanted.mask(np.abs(weight))
    return np.where(mask, 0.0, weight)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("wanted", [0.3, 0.5, 0.9, NM(2, 4), NM(1, 4), NM(4, 8)])
def test_it_errs_far_less_than_magnitude_at_the_same_zeros(groups, wanted):
    weight, x, target = problem(groups)
    count = wanted if isinstance(wanted, NM) else int(wanted * weight.size)
    pruned = eliminate(weight, *moments(x, target), count, weight.shape[2])
    assert (pruned == 0).sum() == (by_magnitude(weight, count) == 0).sum()
    assert loss(pruned, x, target) < 0.5 * loss(by_magnitude(weight, count), x, target)


def test_a_pattern_holds_in_every_group():
    weight, x, target = problem()
    pruned = eliminate(weight, *moments(x, target), NM(2, 4), 24)
    assert ((pruned.reshape(6, 6, 4) != 0).sum(axis=-1) == 2).all()


def test_the_weights_that_stay_are_the_least_squares_solution():
    weight, x, target = problem()
    pruned = eliminate(weight, *moments(x, target), 70, 24, damping=1e-9)
    for row in range(6):
        stays = np.flatnonzero(pruned[0, row])
        best = np.linalg.lstsq(x[0][:, stays], target[0][:, row], rcond=None)[0]
        assert pruned[0, row, stays] == pytest.approx(best, rel=1e-4, abs=1e-6)


def test_one_weight_goes_as_the_surgeon_says(monkeypatch):
    monkeypatch.setattr(second_order, "_SOLVE_FLOPS", 0)
    weight, x, target = problem(rows=1)
    gram, cross = moments(x, target)
    pruned = eliminate(weight, gram, cross, 1, 24, damping=1e-10)
    inverse = np.linalg.inv(gram[0])
    scores = weight[0, 0] ** 2 / np.diag(inverse)
    gone = int(np.argmin(scores))
    expected = weight[0, 0] - weight[0, 0, gone] / inverse[gone, gone] * inverse[gone]
    expected[gone] = 0.0
    behind = slice(gone, None)  # columns before it are past: the walk moves only those that come after
    exact = np.linalg.inv(gram[0][behind, behind])
    walked = weight[0, 0].copy()
    walked[behind] -= weight[0, 0, gone] / exact[0, 0] * exact[0]
    walked[gone] = 0.0
    assert pruned[0, 0] == pytest.approx(walked, rel=1e-5, abs=1e-7)
    assert loss(expected[None, None], x, target) <= loss(pruned, x, target) * (1 + 1e-9)


def test_columns_from_free_on_are_moved_but_never_zeroed():
    weight, x, target = problem()
    weight[:, :, 20:] *= 1e-6
    pruned = eliminate(weight, *moments(x, target), 100, 20)
    assert (pruned[:, :, 20:] != 0).all()
    assert (pruned[:, :, :20] == 0).sum() == 100


@pytest.mark.parametrize("samples", [0, 1, 5])
def test_few_samples_and_constant_inputs_give_no_nan(samples):
    weight, x, target = problem(samples=samples)
    x[:, :, ::2] = 0.0
    x[:, :, 1] = 1.0
    pruned = eliminate(weight, *moments(x, target), 72, 24)
    assert np.isfinite(pruned).all()
    assert (pruned == 0).sum() == 72


def test_the_blocks_of_the_walk_give_as_the_whole_asks(monkeypatch):
    monkeypatch.setattr(second_order, "_BLOCK", 8)
    weight, x, _ = problem()
    weight[:, :, :8] *= 0.01
    pruned = eliminate(weight, *moments(x, x @ weight.transpose(0, 2, 1)), 50, 24)
    assert (pruned == 0).sum() == 50
    assert (pruned[:, :, :8] == 0).mean() > 0.8
