from __future__ import annotations

import numpy as np

from onnxcompress.passes.reconstruction.solve import Normal, fit


def _problem(rows: int, seed: int, truth: np.ndarray, noise: float) -> Normal:
    generator = np.random.default_rng(seed)
    groups, columns, outputs = truth.shape
    normal = Normal(groups, columns, outputs)
    for _ in range(4):
        x = generator.normal(size=(groups, rows // 4, columns))
        normal.add(x, x @ truth + noise * generator.normal(size=(groups, rows // 4, outputs)))
    return normal


def test_the_true_weights_come_back() -> None:
    truth = np.random.default_rng(0).normal(size=(3, 5, 2))
    solved = fit(_problem(400, 1, truth, 0.0), _problem(80, 2, truth, 0.0), np.zeros_like(truth))
    assert np.abs(solved.weight - truth).max() < 1e-4
    assert solved.before > 0.9
    assert solved.after < 1e-8


def test_error_equals_the_plain_sum_of_squares() -> None:
    generator = np.random.default_rng(3)
    x, y, w = generator.normal(size=(1, 50, 4)), generator.normal(size=(1, 50, 2)), generator.normal(size=(1, 4, 2))
    normal = Normal(1, 4, 2)
    normal.add(x, y)
    assert np.isclose(normal.error(w)[0], np.square(x @ w - y).sum())


def test_a_group_that_cannot_gain_keeps_its_start() -> None:
    truth = np.random.default_rng(4).normal(size=(2, 6, 3))
    start = truth.copy()
    start[1] = 0.0
    solved = fit(_problem(40, 5, truth, 0.5), _problem(4000, 6, truth, 0.5), start)
    assert np.array_equal(solved.weight[0], start[0])
    assert not np.array_equal(solved.weight[1], start[1])
