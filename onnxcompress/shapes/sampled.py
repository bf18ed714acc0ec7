"""Sizes of free axes as the samples have them, so that costs, times and placement hold for what the model will see."""

from __future__ import annotations

import onnx_ir as ir

from onnxcompress.data import DataSource
from onnxcompress.runtime import batch_axis, dims_of, feeds_of, real_inputs, runnable_part
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes.probe import FREE, symbol


def sampled_shapes(
    model: ir.Model, source: DataSource, *, options: RuntimeOptions | None = None
) -> dict[str, tuple[int, ...]]:
    """Shapes by input name, as the first sample has them; the batch stays `FREE`.

    Empty where the model leaves no size free but the batch, and where one sample gives one name two sizes.

    Args:
        model: Any model; the part of it that ONNX Runtime can run is fed.
        source: Samples, at least one.
        options: Custom operators.

    Raises:
        DataError: Where the samples do not fit the model.
    """
    part, _ = runnable_part(model, options)
    batches, sizes = batch_axis(part), dict[str, int]()
    inputs = [value for value in real_inputs(part) if dims_of(value) is not None]
    if not any(_free_axes(value, batches) for value in inputs):
        return {}
    arrays = next(iter(feeds_of(part, source, batch=1))).arrays
    shapes: dict[str, tuple[int, ...]] = {}
    for value in inputs:
        name = value.name or ""
        if name not in arrays:
            continue
        free, shape = _free_axes(value, batches), arrays[name].shape
        if any(sizes.setdefault(symbol(value, axis) or "", shape[axis]) != shape[axis] for axis in free):
            return {}
        if free:
            shapes[name] = tuple(FREE if axis == batches.get(name) else size for axis, size in enumerate(shape))
    return shapes


def _free_axes(value: ir.Value, batches: dict[str, int]) -> list[int]:
    """Axes that the model leaves free, but for the batch."""
    rank, batch = len(dims_of(value) or ()), batches.get(value.name or "")
    return [axis for axis in range(rank) if axis != batch and symbol(value, axis) is not None]
