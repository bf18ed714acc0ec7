from __future__ import annotations

import warnings

import numpy as np
import pytest

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.passes.quantization.sensitivity.snr import signal_to_noise


def ratio(values: list[float], scale: float) -> float:
    hist = FloatHistogram()
    hist.update(np.array(values, np.float32))
    return signal_to_noise(hist, Grid(np.array(scale, np.float32), np.array(0, np.int8)))


def test_decibels_of_half_a_step_of_error() -> None:
    assert ratio([2.5] * 4, 1.0) == pytest.approx(10 * np.log10(25), abs=0.1)


@pytest.mark.parametrize(("value", "scale"), [(3e38, 3e38), (1.0, 1e-45), (1e-37, 1e-37), (1e-37, 1e38)])
def test_magnitudes_at_the_ends_of_float_do_not_overflow(value: float, scale: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(ratio([value, value / 2], scale))


def test_a_grid_that_holds_every_value_exactly_gives_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the buckets have no width there is no error at all, and energy over it is beyond float."""
    hist = FloatHistogram()
    hist.update(np.array([1024.0], np.float32))
    found = hist.buckets()
    exact = type(found)(np.array([1024.0]), np.array([1024.0]), found.count, found.zeros)
    monkeypatch.setattr(hist, "buckets", lambda: exact)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert signal_to_noise(hist, Grid(np.array(16.0, np.float32), np.array(0, np.int8))) > 3000


def test_a_tensor_of_zeros_has_no_noise() -> None:
    assert ratio([0.0], 1.0) == np.inf
