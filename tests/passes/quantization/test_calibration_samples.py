"""Which samples are left out of a calibration: a rare absurd value, not a mask and not a scale."""

from __future__ import annotations

import numpy as np

from onnxcompress.data import ArraySource
from onnxcompress.passes.quantization.samples import outlying

GOOD = np.random.default_rng(9).normal(size=(40, 6)).astype(np.float32)


def _found(array: np.ndarray) -> list[int]:
    return sorted(outlying(ArraySource({"x": array, "ids": np.full((len(array), 2), 1 << 40)})))


def test_a_rare_absurd_value_is_found() -> None:
    array = GOOD.copy()
    array[7, 2], array[30, 0] = 1e30, -2e9
    assert _found(array) == [7, 30]


def test_large_scales_heavy_tails_and_masks_are_none() -> None:
    array = GOOD.copy()
    array[7, 2] = 1e5
    assert _found(array) == _found(GOOD * 1e20) == _found(GOOD[:1] * 1e30) == []
    for padded in (3, 20, 39):
        mask = np.zeros((40, 6), np.float32)
        mask[:padded, 4:] = -3.4e38
        assert _found(mask) == []
