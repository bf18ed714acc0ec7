from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.calibrators.float_histogram import PER_OCTAVE

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
ARRAYS = hnp.arrays(np.float32, st.integers(0, 200), elements=FLOATS)


def of(*parts: np.ndarray) -> FloatHistogram:
    made = FloatHistogram()
    for part in parts:
        made.update(part)
    return made


def same(first: FloatHistogram, second: FloatHistogram) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


@settings(max_examples=60, deadline=None)
@given(ARRAYS, st.randoms(use_true_random=False))
def test_state_depends_neither_on_order_nor_on_sharding(values: np.ndarray, random) -> None:
    whole = of(values)
    shuffled = values.copy()
    np.random.default_rng(random.randint(0, 9)).shuffle(shuffled)
    cut = random.randint(0, len(values))
    assert same(whole, of(shuffled))
    assert same(whole, of(values[:cut], values[cut:]))
    assert same(whole, of(values[cut:]).merge(of(values[:cut])))
    assert same(whole, FloatHistogram.from_state(whole.state_dict()))


@settings(max_examples=60, deadline=None)
@given(ARRAYS)
def test_every_finite_value_lies_in_its_bucket_and_is_counted_once(values: np.ndarray) -> None:
    hist, finite = of(values), values[np.isfinite(values)].astype(np.float64)
    found = hist.buckets()
    assert hist.nan == np.isnan(values).sum() and hist.inf == np.isinf(values).sum()
    assert found.total == hist.counted == finite.size
    if finite.size:
        assert (hist.low, hist.high) == (finite.min(), finite.max())
    rest = finite[np.abs(finite) >= 2.0**-134]
    assert found.zeros == finite.size - rest.size
    assert np.all(np.diff(found.low) > 0) or len(found.low) < 2
    for low, high, count in zip(found.low, found.high, found.count, strict=True):
        assert ((rest >= low) & (rest <= high)).sum() >= count


def test_a_bucket_is_a_256th_of_its_octave() -> None:
    assert PER_OCTAVE == 256
    found = of(np.array([1.0, 1 + 1 / 256, 1 + 1 / 256 + 1e-4, -3.0], np.float32)).buckets()
    assert found.count.tolist() == [1, 1, 2]
    assert found.low.tolist() == [-3.0, 1.0, 1 + 1 / 256]


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16, np.int8, np.uint8, np.int64, np.float64])
def test_other_types_are_counted_as_float32(kind: type) -> None:
    values = np.array([[0, 1, 2], [3, 5, 100]]).astype(kind)
    assert same(of(values), of(values.astype(np.float32)))


def test_values_far_outside_the_fast_table_are_kept() -> None:
    values = np.array([1e30, -1e30, 1e-30, 0.0, -0.0, 1.0, np.finfo(np.float32).max], np.float32)
    hist = of(values)
    assert hist.counted == 7 and hist.zeros == 2
    assert hist.high == np.finfo(np.float32).max and hist.buckets().high[-1] == hist.high


def test_a_stride_weighs_what_it_counts_and_keeps_the_extremes() -> None:
    values = np.arange(1, 31, dtype=np.float32)
    hist = FloatHistogram()
    hist.update(values, stride=3)
    assert hist.counted == 30 and (hist.low, hist.high) == (1, 30)
    assert hist.buckets().count.tolist() == [3] * 10
