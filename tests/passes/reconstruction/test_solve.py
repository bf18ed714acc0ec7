from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.reconstruction.problem import plan
from onnxcompress.passes.reconstruction.solve import RIDGES, Factor, Normal, Rows, fit


def _rows(count: int, truth: np.ndarray, noise: float = 0.0, seed: int = 1, **bounds) -> Rows:
    generator = np.random.default_rng(seed)
    groups, columns, outputs = truth.shape
    p = generator.normal(size=(groups, count, columns)).astype(np.float32)
    e = (p @ truth + noise * generator.normal(size=(groups, count, outputs))).astype(np.float32)
    return Rows(p, e, **{k: np.full_like(e, v) for k, v in bounds.items()})


def _folds(count: int) -> np.ndarray:
    return np.arange(count) % 5


TRUTH = np.random.default_rng(0).normal(size=(3, 5, 2))


def test_error_equals_the_plain_sum_of_squares():
    generator = np.random.default_rng(3)
    x, y, w = generator.normal(size=(1, 50, 4)), generator.normal(size=(1, 50, 2)), generator.normal(size=(1, 4, 2))
    normal = Normal(1, 4, 2)
    normal.add(x, y)
    assert np.isclose(normal.error(w)[0], np.square(x @ w - y).sum())


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 1.0])
def test_both_forms_equal_least_squares_on_rows_with_the_ridge_appended(dual, ridge):
    rows = _rows(12 if dual else 40, np.random.default_rng(2).normal(size=(2, 20, 3)), noise=0.3)
    factor = Factor(rows, dual=dual)
    change = factor.change(factor.solve(factor.turned(rows.e), np.full(2, ridge)))
    for p, e, found in zip(rows.p, rows.e, change, strict=True):
        tall = np.vstack([p, np.sqrt(ridge * len(p)) * np.eye(p.shape[1])])
        brute = np.linalg.lstsq(tall, np.vstack([e, np.zeros((p.shape[1], e.shape[1]))]), rcond=None)[0]
        np.testing.assert_allclose(found, brute, atol=2e-5)


@pytest.mark.parametrize("clip", [{}, {"low": 0.2}], ids=["plain", "clipped"])
def test_the_dual_finds_what_the_normal_equations_find(clip):
    rows = _rows(30, np.random.default_rng(2).normal(size=(1, 40, 3)), noise=0.1, **clip)
    plain, dual = (fit(rows, _folds(30), dual=dual, several=False) for dual in (False, True))
    assert plain.rounds == dual.rounds
    np.testing.assert_array_equal(plain.ridges, dual.ridges)
    np.testing.assert_allclose(plain.change, dual.change, atol=1e-3)


@pytest.mark.parametrize("several", [False, True])
def test_the_true_weights_come_back(several):
    solved = fit(_rows(400, TRUTH), _folds(400), dual=False, several=several)
    np.testing.assert_allclose(solved.change, TRUTH, atol=1e-3)
    assert np.all(solved.after < 1e-5 * solved.before)


def test_a_group_that_cannot_gain_keeps_its_start():
    rows = _rows(400, TRUTH, noise=0.1)
    rows.e[1] = np.random.default_rng(8).normal(size=rows.e[1].shape)
    solved = fit(rows, _folds(400), dual=False, several=False)
    assert np.abs(solved.change[0] - TRUTH[0]).max() < 0.05
    assert np.abs(solved.change[1]).max() < 0.1
    assert np.all(solved.after <= solved.before)


@pytest.mark.parametrize("clip", [{"low": 0.0}, {"high": 0.5}, {"low": -0.5, "high": 0.5}], ids=str)
def test_targets_beyond_the_clip_ask_for_nothing(clip):
    """Far beyond the clip the targets are noise: what counts is behind it."""
    truth = np.random.default_rng(5).normal(size=(1, 6, 3))
    rows = _rows(2000, truth, **clip)
    beyond = rows.seen(rows.e) != rows.e
    noise = 5 * np.abs(np.random.default_rng(6).normal(size=rows.e.shape)).astype(np.float32)
    away = np.where(rows.e > clip.get("high", np.inf), noise, -noise)
    spoilt = Rows(rows.p, np.where(beyond, rows.e + away, rows.e), rows.low, rows.high)
    solved = fit(spoilt, _folds(2000), dual=False, several=False)
    plain = fit(Rows(spoilt.p, spoilt.e), _folds(2000), dual=False, several=False)
    assert solved.rounds > 0
    assert np.abs(solved.change - truth).max() < 0.2 * np.abs(plain.change - truth).max()


def test_revised_targets_majorise_the_loss():
    """The loss never exceeds the surrogate; beyond the clip it equals it where the surrogate was made."""
    rows = _rows(50, TRUTH, low=0.0, high=0.7)
    generator = np.random.default_rng(4)
    here, there = generator.normal(size=(2, *rows.e.shape))
    surrogate = np.square(there - rows.targets(here))
    loss = np.square(np.clip(there, 0, 0.7) - np.clip(rows.e, 0, 0.7))
    assert np.all(loss <= surrogate + 1e-6)
    beyond = (rows.e <= 0) | (rows.e >= 0.7)
    made = np.square(here - rows.targets(here)) - np.square(np.clip(here, 0, 0.7) - np.clip(rows.e, 0, 0.7))
    one_sided = beyond & ~((rows.e <= 0) & (here >= 0.7)) & ~((rows.e >= 0.7) & (here <= 0))
    assert np.abs(made[one_sided]).max() < 1e-5


@pytest.mark.parametrize("dual", [False, True])
def test_constant_columns_and_two_rows_give_numbers(dual):
    rows = Rows(np.zeros((1, 2, 4), np.float32), np.ones((1, 2, 1), np.float32))
    solved = fit(rows, np.array([0, 1]), dual=dual, several=True)
    assert solved.change is None or np.isfinite(solved.change).all()


def test_the_same_rows_give_the_same_bytes():
    found = [fit(_rows(100, TRUTH, 0.2, low=0.0), _folds(100), dual=False, several=True).change for _ in range(2)]
    assert found[0].tobytes() == found[1].tobytes()


def test_ridges_span_eight_decades():
    assert RIDGES[0] <= 1e-7
    assert RIDGES[-1] >= 10


@pytest.mark.parametrize(
    ("shape", "rows", "memory", "form"),
    [
        ((1, 577, 64), 60_000, 1 << 30, "normal equations"),
        ((960, 10, 1), 60_000, 1 << 30, "normal equations"),
        ((1, 25_089, 4096), 512, 1 << 30, "dual"),
        ((1, 4609, 512), 60_000, 128 << 20, "dual"),
        ((1, 1_000_000, 512), 60_000, 1 << 20, None),
    ],
)
def test_the_form_follows_from_the_memory(shape, rows, memory, form):
    found = plan(shape, rows, memory)
    assert (found.form if found else None) == form
    if found is not None:
        groups, columns, outputs = shape
        assert 4 * groups * found.rows * (columns + outputs) <= memory
