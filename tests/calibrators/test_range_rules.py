from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcompress.calibrators import CALIBRATORS, FloatHistogram, calibrator
from onnxcompress.calibrators.histogram import folded
from onnxcompress.calibrators.kl import divergence
from onnxcompress.errors import UsageError

RNG = np.random.default_rng(5)
SAMPLES = {
    "gauss": RNG.normal(size=20000),
    "laplace": RNG.laplace(size=20000),
    "heavy": RNG.standard_t(3, 20000),
    "relu": np.maximum(RNG.normal(size=20000), 0),
    "silu": (lambda x: x / (1 + np.exp(-x)))(2 * RNG.normal(size=20000)),
    "negative": -np.abs(RNG.normal(size=20000)),
}


def of(values: np.ndarray) -> FloatHistogram:
    made = FloatHistogram()
    made.update(values.astype(np.float32))
    return made


def noise(values: np.ndarray, low: float, high: float, levels: int) -> float:
    step = (high - low) / (levels - 1)
    first = np.round(low / step)
    return float(((values - np.clip(np.round(values / step), first, first + levels - 1) * step) ** 2).mean())


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("sample", SAMPLES)
def test_ranges_contain_zero_and_lie_within_what_was_seen(name: str, symmetric: bool, sample: str) -> None:
    values = SAMPLES[sample]
    low, high = calibrator(name)(of(values), symmetric=symmetric)
    largest = np.abs(values.astype(np.float32)).max()
    assert low <= 0 <= high and low < high and max(-low, high) <= largest * (1 + 1e-6)
    assert low == -high if symmetric else (low >= min(values.min(), 0) - 1e-6 and high <= max(values.max(), 0) + 1e-6)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_nothing_seen_and_only_zeros_give_an_empty_range(name: str) -> None:
    for values in (np.zeros(0), np.zeros(50)):
        assert calibrator(name)(of(values)) == (0.0, 0.0)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("symmetric", [False, True])
def test_mse_is_close_to_an_exhaustive_search_and_beats_the_others(sample: str, symmetric: bool) -> None:
    values, levels = SAMPLES[sample].astype(np.float32).astype(np.float64), 255 if symmetric else 256
    mine = noise(values, *calibrator("mse")(of(values), symmetric=symmetric), levels)
    for name in ("uniform", "histogram", "kl"):
        assert mine <= noise(values, *calibrator(name)(of(values), symmetric=symmetric), levels) * 1.02
    if symmetric:
        largest = np.abs(values).max()
        assert mine <= min(noise(values, -t, t, levels) for t in np.linspace(0.2, 1, 161) * largest) * 1.05


@pytest.mark.parametrize("name", ["histogram", "kl", "mse"])
@pytest.mark.parametrize("glitch", [1e30, -1e38, 3e9])
def test_a_glitch_moves_no_range(name: str, glitch: float) -> None:
    clean = SAMPLES["gauss"]
    spoilt = np.concatenate([clean, [glitch]])
    before, after = (np.array(calibrator(name)(of(v))) for v in (clean, spoilt))
    np.testing.assert_allclose(after, before, rtol=0.08)
    assert max(np.abs(calibrator("uniform")(of(spoilt)))) == np.abs(np.float32(glitch))


def test_percentile_is_numpys_within_a_bucket() -> None:
    values = SAMPLES["heavy"]
    low, high = calibrator("histogram")(of(values), percentile=99.0)
    np.testing.assert_allclose([low, high], np.quantile(values, [0.005, 0.995]), rtol=1 / 128)
    _, high = calibrator("histogram")(of(SAMPLES["relu"]), percentile=99.0)
    np.testing.assert_allclose(high, np.quantile(SAMPLES["relu"], 0.99), rtol=1 / 128)
    assert calibrator("histogram")(of(values), percentile=100.0) == calibrator("uniform")(of(values))


def brute_divergence(hist: FloatHistogram, end: int, levels: int) -> float:
    """The definition, a bucket at a time."""
    found = folded(hist.buckets())
    top = found.high[end]
    count, width = found.count.astype(float), found.width
    level = np.minimum((found.low / (top / levels)).astype(int), levels - 1)
    # A bucket belongs to the level in which it begins.
    edges = top * (np.arange(levels + 1) / levels)
    level = np.minimum(np.searchsorted(edges, found.low, side="right") - 1, levels - 1)
    total, inside = count.sum(), count[: end + 1].sum()
    result = 0.0
    for b in range(end + 1):
        mine = (level == level[b]) & (np.arange(len(count)) <= end)
        q = count[mine].sum() / inside * width[b] / width[mine].sum()
        p = (count[b] + (total - inside if b == end else 0)) / total
        result += p * np.log(p / q)
    return result


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([8, 32, 128]))
def test_kl_by_prefix_sums_is_the_definition(seed: int, levels: int) -> None:
    hist = of(np.random.default_rng(seed).standard_t(4, 300))
    found = folded(hist.buckets())
    ends = np.array([len(found.count) // 2, 3 * len(found.count) // 4, len(found.count) - 1])
    expected = [brute_divergence(hist, int(end), levels) for end in ends]
    np.testing.assert_allclose(divergence(found, ends, levels), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("sample", SAMPLES)
def test_kl_is_never_worse_than_no_clipping_by_its_own_measure(sample: str) -> None:
    hist = of(SAMPLES[sample])
    found = folded(hist.buckets())
    chosen = max(-calibrator("kl")(hist)[0], calibrator("kl")(hist)[1])
    end = int(np.argmin(np.abs(found.high - chosen)))
    mine, whole = divergence(found, np.array([end, len(found.count) - 1]), 128)
    assert mine <= whole


def test_kl_does_not_collapse_behind_a_relu() -> None:
    low, high = calibrator("kl")(of(SAMPLES["relu"]))
    assert low == 0 and high > 3


def test_an_unknown_rule_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="uniform, histogram, kl, mse"):
        calibrator("entropy")


def test_kl_keeps_what_stands_out_of_a_constant_background() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.full(9_000, 0.25), np.abs(rng.standard_normal(1_000)) * 3 + 1]).astype(np.float32)
    _, high = calibrator("kl")(of(values))
    assert high >= np.quantile(values, 0.99)
