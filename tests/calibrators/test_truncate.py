from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.calibrators.truncate import covering_step, truncate
from onnxcompress.errors import UsageError

RNG = np.random.default_rng(8)


def of(values: np.ndarray) -> FloatHistogram:
    made = FloatHistogram()
    made.update(values.astype(np.float32))
    return made


def step_of(limits: tuple[float, float], points: int) -> float:
    return (limits[1] - limits[0]) / (points - 1)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32, allow_subnormal=False), min_size=1, max_size=40),
    st.sampled_from([16, 256, 65536]),
    st.booleans(),
    st.booleans(),
)
def test_the_step_is_a_power_of_two_and_zero_a_point(
    numbers: list[float], levels: int, symmetric: bool, cover: bool
) -> None:
    limits = truncate(of(np.array(numbers)), levels=levels, symmetric=symmetric, cover=cover)
    step = step_of(limits, levels - 1 if symmetric else levels)
    if step:
        assert np.frexp(step)[0] == 0.5 and limits[0] / step == np.round(limits[0] / step)
        assert not cover or max(numbers) - limits[1] <= step * 1e-6 >= limits[0] - min(numbers)
        assert not symmetric or limits[0] == -limits[1]


def test_the_covering_format_is_q_of_the_largest_magnitude() -> None:
    values = RNG.uniform(-1, 1, 5000) * 3.9  # 127 * 2^-5 = 3.97
    assert truncate(of(values), symmetric=True, cover=True) == (-127 / 32, 127 / 32)
    assert truncate(of(np.abs(values)), cover=True) == (0.0, 255 / 64)


def test_of_the_finer_formats_the_one_with_the_least_error_is_taken() -> None:
    values = np.append(
        RNG.normal(size=20000) * 0.3, 4.1
    )  # covering 4.1 takes a step of 2^-4, the rest half of it or less
    whole, chosen = (truncate(of(values), symmetric=True, cover=c) for c in (True, False))
    assert step_of(whole, 255) == 1 / 16 and step_of(chosen, 255) < 1 / 16

    def noise(step: float) -> float:
        return float(((values - np.clip(np.round(values / step), -127, 127) * step) ** 2).mean())

    assert noise(step_of(chosen, 255)) == min(noise(2.0**-n) for n in range(3, 12))


def test_dropping_the_low_bits_asks_for_a_finer_step() -> None:
    values = np.concatenate([RNG.normal(size=20000) * 0.25, RNG.normal(size=60)])
    rounded, dropped = (step_of(truncate(of(values), symmetric=True, low_bits=b), 255) for b in ("round", "truncate"))
    assert dropped <= rounded

    def noise(step: float) -> float:
        return float(((values - np.clip(np.trunc(values / step), -127, 127) * step) ** 2).mean())

    assert noise(dropped) == min(noise(2.0**-n) for n in range(3, 12))


def test_a_range_between_two_grid_points_takes_the_next_step() -> None:
    assert covering_step(-0.5, 254.4, 256) == 2.0  # 255 steps of 1 would hold it, were zero not a point
    assert covering_step(0.0, 255.0, 256) == 1.0


def test_another_way_with_low_bits_is_refused() -> None:
    with pytest.raises(UsageError, match="round, truncate"):
        truncate(of(np.ones(3)), low_bits="floor")
