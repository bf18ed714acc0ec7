"""Axes of graph outputs that the user allowed a pass to cut: the one change of the interface that there is.

A pass that cuts one writes which positions of the original axis are left into ``model.meta["onnxcompress.freed"]``:
``{output name: {axis: positions}}``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

META = "onnxcompress.freed"

Freed = dict[str, dict[int, list[int]]]


def freed(model: ir.Model) -> Freed:
    """Positions left on the freed output axes, counted on the model that was loaded."""
    return model.meta.get(META, {})


def left(reference: ir.Model, candidate: ir.Model) -> dict[str, dict[int, np.ndarray]]:
    """Which positions of the reference's output axes the candidate still has, where it has not all."""
    before = freed(reference)
    found: dict[str, dict[int, np.ndarray]] = {}
    for name, axes in freed(candidate).items():
        for axis, positions in axes.items():
            base = before.get(name, {}).get(axis)
            at = np.array(positions) if base is None else np.searchsorted(base, positions)
            if base is None or len(at) < len(base):
                found.setdefault(name, {})[axis] = at
    return found


def narrowed(name: str, array: np.ndarray, axes: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """The reference's output without the positions that the candidate has not."""
    for axis, positions in axes.get(name, {}).items():
        array = array.take(positions, axis=axis)
    return array
