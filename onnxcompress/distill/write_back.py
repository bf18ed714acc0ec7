"""Trained numbers back into the model, by initializer name; nodes, names and types stay.

An element that training did not move keeps its stored bits, so that zero steps give the same bytes. Integer weights go
back on their grid: clip(round(w / s) + z).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.weights import Weight, stored


def write_back(model: ir.Model, bridge: Bridge, start: list[torch.Tensor]) -> list[str]:
    """Store the bridge's numbers in `model`.

    Args:
        model: The model that the bridge was made from.
        bridge: The trained bridge.
        start: Its tensors before training, by position.

    Returns:
        Names of the constants that changed.
    """
    changed: list[str] = []
    for weight, now, before in zip(bridge.weights, bridge.parameters, start, strict=True):
        moved = (now.detach() != before).numpy()
        if not moved.any():
            continue
        value = weight.value if bridge.model is model else model.graph.initializers[weight.name]
        tensor = stored(value)
        assert tensor is not None
        old = tensor.numpy()
        new = np.where(moved, _as_stored(weight, now.detach().numpy(), old.dtype), old).astype(old.dtype)
        if not np.array_equal(new, old):
            _store(value, ir.Tensor(new, dtype=tensor.dtype, name=tensor.name))
            changed.append(weight.name)
    return changed


def _as_stored(weight: Weight, numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if weight.grid is None:
        limit = float(np.finfo(dtype).max) if dtype == np.float16 else np.inf
        return np.clip(numbers, -limit, limit).astype(dtype)
    grid = weight.grid
    index = np.round(numbers.astype(np.float64) / grid.scale) + grid.zero
    return np.clip(index, grid.low, grid.high).astype(np.int64).astype(dtype)


def _store(value: ir.Value, tensor: ir.Tensor) -> None:
    """Into the initializer, or into the attribute of the Constant node."""
    if value.is_initializer():
        value.const_value = tensor
        return
    node = value.producer()
    assert node is not None
    node.attributes.clear()
    node.attributes["value"] = ir.AttrTensor("value", tensor)
    value.const_value = None
