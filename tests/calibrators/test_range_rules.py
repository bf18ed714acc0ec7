from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcompress.calibrators import CALIBRATORS, FloatHistogram, calibrator
from onnxcompress.calibrators.grid_error import GridError
from onnxcompress.calibrators.histogram import folded
from onnxcompress.calibrators.kl import divergence
from onnxcompress.calibrators.mse import cut, sane_bounds
from onnxcompress.errors import UsageError

RNG = np.random.default_rng(5)
SAMPLES = {
    "gauss": RNG.normal(size=20000),
    "laplace": RNG.laplace(size=20000),
    "heavy": RNG.standard_t(3, 20000),
    "t5": RNG.standard_t(5, 20000),
    "mixture": np.concatenate([RNG.normal(size=19000) * 0.3, RNG.normal(size=1000) * 4]),
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
    largest = np.abs(values.astype(np.float32)).max() * (2.1 if name == "truncate" else 1)
    assert low <= 0 <= high and low < high and max(-low, high) <= largest * (1 + 1e-6)
    if name == "truncate":
        return  # a power of two reaches beyond what was seen
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
    for name in ("uniform", "histogram", "kl", "truncate"):
        assert mine <= noise(values, *calibrator(name)(of(values), symmetric=symmetric), levels) * 1.02
    if symmetric:
        largest = np.abs(values).max()
        assert mine <= min(noise(values, -t, t, levels) for t in np.linspace(0.2, 1, 161) * largest) * 1.05


@pytest.mark.parametrize("name", ["histogram", "kl", "mse", "truncate"])
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
    count, width = found.count.astype(float), np.maximum(found.width, 2.0**-16 * found.high)
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


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    st.sampled_from([16, 256, 4096]),
    st.booleans(),
)
def test_kl_of_anything_is_never_worse_than_the_widest_range_without_glitches(
    numbers: list[float], levels: int, symmetric: bool
) -> None:
    hist = of(np.repeat(np.array(numbers), np.arange(1, len(numbers) + 1)))
    found = hist.buckets()
    low, high = calibrator("kl")(hist, levels=levels, symmetric=symmetric)
    widest = max(map(abs, sane_bounds(hist, found, levels)))
    magnitude = folded(cut(found, -widest, widest))
    if len(magnitude.count):
        end = int(np.argmin(np.abs(magnitude.high - max(-low, high))))
        mine, whole = divergence(magnitude, np.array([end, len(magnitude.count) - 1]), levels // 2)
        assert mine <= whole + 1e-12


EDGES = {
    "constant": np.full(500, 3.7),
    "negative constant": np.full(500, -0.2),
    "single": np.array([1e-3]),
    "denormal": np.full(40, 1e-40),
    "tiny": RNG.normal(size=500) * 1e-30,
    "huge": RNG.normal(size=500) * 1e35,
    "two values": np.repeat([0.0, 5.0], 50),
}


@pytest.mark.parametrize("name", CALIBRATORS)
@pytest.mark.parametrize("levels", [16, 256, 65536])
@pytest.mark.parametrize("edge", EDGES)
def test_odd_tensors_get_a_range_that_holds_them(name: str, levels: int, edge: str) -> None:
    values = EDGES[edge].astype(np.float32).astype(np.float64)
    for symmetric in (False, True):
        low, high = calibrator(name)(of(values), levels=levels, symmetric=symmetric)
        assert low <= 0 <= high and np.isfinite([low, high]).all()
        if edge in ("constant", "negative constant", "single", "two values"):
            points = levels - 1 if symmetric else levels
            assert noise(values, low, high, points) <= np.abs(values).max() ** 2 / 12 / (points / 2 - 1) ** 2 * 13


@pytest.mark.parametrize("levels", [4, 16, 256])
@pytest.mark.parametrize("truncated", [False, True])
def test_the_error_of_a_grid_is_that_of_the_buckets_one_by_one(levels: int, truncated: bool) -> None:
    found = of(SAMPLES["silu"]).buckets()
    low, high = np.array([-0.3, -0.1, 0.0, -0.2]), np.array([6.0, 2.0, 3.0, 0.0])
    got = GridError(found, truncate=truncated)(low, high, levels)
    for i in range(4):
        step = (high[i] - low[i]) / (levels - 1)
        first = np.round(low[i] / step)
        place = np.trunc(found.center / step) if truncated else np.round(found.center / step)
        grid = np.clip(place, first, first + levels - 1) * step
        cost = ((found.center - grid) ** 2 + found.width**2 / 12) @ found.count
        np.testing.assert_allclose(got[i], cost / found.total, rtol=1e-9)


def test_fine_grids_cost_a_twelfth_of_the_squared_step_inside() -> None:
    values = np.random.default_rng(1).uniform(0, 1, 50000)
    (got,) = GridError(of(values).buckets())(np.array([0.0]), np.array([1.0]), 65536)
    np.testing.assert_allclose(got, (1 / 65535) ** 2 / 12, rtol=0.02)
    (cut_off,) = GridError(of(values).buckets())(np.array([0.0]), np.array([0.5]), 65536)
    np.testing.assert_allclose(cut_off, 0.5**3 / 3, rtol=0.02)


def test_kl_does_not_collapse_behind_a_relu() -> None:
    low, high = calibrator("kl")(of(SAMPLES["relu"]))
    assert low == 0 and high > 3


def test_an_unknown_rule_is_refused_with_the_choices() -> None:
    with pytest.raises(UsageError, match="uniform, histogram, kl, mse, truncate"):
        calibrator("entropy")


def test_kl_keeps_what_stands_out_of_a_constant_background() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([np.full(9_000, 0.25), np.abs(rng.standard_normal(1_000)) * 3 + 1]).astype(np.float32)
    _, high = calibrator("kl")(of(values))
    assert high >= np.quantile(values, 0.99)
