"""The smallest weights to zero, the others untouched: what is done without data."""

from __future__ import annotations

import numpy as np

from onnxcompress.passes.sparsifying.layout import reduction_axis
from onnxcompress.passes.sparsifying.n_m import NM
from onnxcompress.passes.sparsifying.smallest import smallest
from onnxcompress.passes.sparsifying.weights import Weight


def gone(weight: Weight, wanted: int | NM) -> np.ndarray:
    """Which elements of the tensor become zero, by magnitude."""
    magnitudes = weight.magnitudes()
    if isinstance(wanted, int):
        return smallest(magnitudes, wanted)
    axis = reduction_axis(weight.node, weight.slot, magnitudes.ndim)
    assert axis is not None, "an eligible layer has one"
    return np.moveaxis(wanted.mask(np.moveaxis(magnitudes, axis, -1)), -1, axis)
