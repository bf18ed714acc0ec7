"""Trained numbers back into the constants of the model that they came from; nodes, names and types stay.

An element that training did not move keeps its stored bits, so that zero steps give the same bytes. Scales go first;
the scale of an int32 bias becomes the product of its factors again. Integer weights go back on the grid as it is
stored then: clip(round(w / s) + z), all of them where their scale moved. A merged constant gets parted only where the
layers that shared it have come to differ (see `untying`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress import graph
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.fake_quant import along, grown, to_grid
from onnxcompress.distill.grids import Grid
from onnxcompress.distill.origins import stored
from onnxcompress.distill.untying import Twin
from onnxcompress.distill.weights import Weight
from onnxcompress.distill.working_copy import home, settle


def write_back(model: ir.Model, bridge: Bridge, start: list[torch.Tensor]) -> list[str]:
    """Store the bridge's numbers in `model`.

    Args:
        model: The model that the bridge was made from.
        bridge: The trained bridge.
        start: Its tensors before training, by position.

    Returns:
        Names of the constants that changed.
    """
    changed, scales = list[str](), _scales(bridge, start)
    for value, new in scales.items():
        _replace(_home(value), new, changed)
    made = _weights(bridge, start, scales)
    for value, new in made.items():
        if home(value) is not None:
            _replace(_home(value), new, changed)
    for value, new in made.items():
        if home(value) is None:
            _part(model, bridge.twins[value], new, changed)
    return changed


def _weights(
    bridge: Bridge, start: list[torch.Tensor], scales: Mapping[ir.Value, np.ndarray]
) -> dict[ir.Value, np.ndarray]:
    """What each weight is to be; a layer that still shares a constant has the numbers of that."""
    made: dict[ir.Value, np.ndarray] = {}
    for weight, now, before in zip(bridge.weights, bridge.parameters, start, strict=True):
        if weight.role == "scale":
            continue
        shared = home(weight.value) is None
        old = _numbers(bridge.twins[weight.value].source if shared else _home(weight.value))
        moved = (now.detach() != before).cpu().numpy()
        regridded = weight.grid is not None and weight.grid.source in scales
        made[weight.value] = old
        if moved.any() or regridded:
            new, before_it = _as_stored(weight, now.detach().cpu(), old.dtype), _spread(weight.grid, old)
            merged = np.where(moved | regridded, new, before_it).astype(old.dtype)
            made[weight.value] = merged if weight.grid is None else weight.grid.packed(merged, old.shape)
    return made


def _spread(grid: Grid | None, array: np.ndarray) -> np.ndarray:
    return array if grid is None else grid.spread(array)


def _home(value: ir.Value) -> ir.Value:
    """The constant of the model itself."""
    return home(value) or value


def _part(model: ir.Model, twin: Twin, new: np.ndarray, changed: list[str]) -> None:
    """Give a layer an initializer of its own where its numbers differ from those of the constant that it shared."""
    tensor = stored(twin.source)
    if tensor is None or np.array_equal(new, tensor.numpy()):
        return
    name = graph.fresh_name(graph.all_names(model), twin.value.name or "")
    made = graph.add_initializer(model.graph, name, ir.Tensor(new, dtype=tensor.dtype, name=name))
    if twin.source.is_graph_input():
        model.graph.inputs.append(made)
    for node, index in twin.edges:
        node.replace_input_with(index, made)
    settle(twin.value, made)
    changed.append(name)


def _scales(bridge: Bridge, start: list[torch.Tensor]) -> dict[ir.Value, np.ndarray]:
    """The scales that moved, and the bias scales that follow them, as they are stored."""
    growth: dict[ir.Value, torch.Tensor] = {}
    for weight, now, before in zip(bridge.weights, bridge.parameters, start, strict=True):
        if weight.role == "scale" and bool((now.detach() != before).any()):
            growth[weight.value] = now.detach().cpu()
    made = {value: _grown(value, [factor]) for value, factor in growth.items()}
    for value, factors in bridge.follow.items():
        if moved := [growth[f] for f in factors if f in growth]:
            made[value] = _grown(value, moved)
    return made


def _grown(value: ir.Value, growths: list[torch.Tensor]) -> np.ndarray:
    old = _numbers(_home(value))
    scale = torch.from_numpy(old.astype(np.float32))
    for growth in growths:
        scale = grown(scale, growth)
    return scale.numpy().reshape(old.shape).astype(old.dtype)


def _as_stored(weight: Weight, numbers: torch.Tensor, dtype: np.dtype) -> np.ndarray:
    if weight.grid is None:
        limit = float(np.finfo(dtype).max) if dtype == np.float16 else np.inf
        return np.clip(numbers.numpy(), -limit, limit).astype(dtype)
    return _indices(weight.grid, numbers).astype(np.int64).astype(dtype)


def _indices(grid: Grid, numbers: torch.Tensor) -> np.ndarray:
    """On the grid as its scale is stored now; in double precision, where an int32 bias needs it."""
    stored_scale = torch.from_numpy(_numbers(_home(grid.source)).astype(np.float64))
    scale = along(stored_scale, tuple(numbers.shape), grid.axis, grid.block)
    zero = torch.from_numpy(grid.zero).double()
    return to_grid(numbers.double(), scale, zero, grid.low, grid.high).numpy()


def _numbers(value: ir.Value) -> np.ndarray:
    tensor = stored(value)
    assert tensor is not None
    return tensor.numpy()


def _replace(value: ir.Value, new: np.ndarray, changed: list[str]) -> None:
    """Store `new` where it differs, in the initializer or in the attribute of the Constant node."""
    tensor = stored(value)
    assert tensor is not None
    if np.array_equal(new, tensor.numpy()):
        return
    changed.append(value.name or "")
    made = ir.Tensor(new, dtype=tensor.dtype, name=tensor.name, doc_string=tensor.doc_string)
    if value.is_initializer():
        value.const_value = made
        return
    node = value.producer()
    assert node is not None
    kept = "value_floats" if "value_floats" in node.attributes else "value"
    node.attributes.clear()
    floats = kept == "value_floats"
    node.attributes[kept] = ir.AttrFloat32s(kept, new.tolist()) if floats else ir.AttrTensor(kept, made)
    value.const_value = None
