"""Where a model's batch axis is, and how samples become runs.

The batch symbols are the symbolic first dims of the model's inputs. An input takes part in the batch along the axis
that carries such a symbol (a recurrent state ``[2, N, 128]`` along axis 1). A sample of a source has the input's dims
without that axis, or all of them:

=====================  ==========================  =====================================================
model input            source array (S samples)    one run
=====================  ==========================  =====================================================
``[N, 3, 8, 8]``       ``(S, 3, 8, 8)``            a batch of samples
``[2, N, 128]``        ``(S, 2, 128)``             a batch, stacked on axis 1
``[2, N, 128]``        ``(S, 2, 1, 128)``          a batch, joined along axis 1
``[1, 3, 8, 8]``       ``(S, 3, 8, 8)``            one sample
``[4, 3, 8, 8]``       ``(S, 3, 8, 8)``            four samples; an incomplete last chunk is padded, then cut
``[2, 1, 16]``         ``(S, 2, 1, 16)``           one sample
``[]``                 ``(S,)``                    samples with the same value share a run
=====================  ==========================  =====================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import DataError

Dim = int | str | None


def dims_of(value: ir.Value) -> tuple[Dim, ...] | None:
    """A value's declared dims: ints, symbols, None for an unnamed free axis; None where the rank is unknown."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """The graph's inputs that a caller must feed: those that are not initializers."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def batch_axis(model: ir.Model) -> dict[str, int]:
    """The axis of each input that carries the batch, by input name; inputs without one are absent."""
    inputs = real_inputs(model)
    first = {dims[0] for value in inputs if (dims := dims_of(value)) and not isinstance(dims[0], int)}
    axes: dict[str, int] = {}
    for value in inputs:
        dims = dims_of(value) or ()
        named = [axis for axis, dim in enumerate(dims) if dim in first and isinstance(dim, str)]
        if dims and not isinstance(dims[0], int):
            axes[value.name or ""] = 0
        elif named:
            axes[value.name or ""] = named[0]
    return axes


@dataclass(frozen=True)
class Feed:
    """How one input's samples are laid into a run.

    Attributes:
        axis: Axis along which samples are stacked; None where a run takes the sample as it is.
        whole: The sample carries all of the model's dims, its own batch axis of 1 among them.
        shared: The input has no batch axis: samples share a run only where they are equal.
    """

    axis: int | None
    whole: bool = False
    shared: bool = False


@dataclass(frozen=True)
class RunPlan:
    """How the samples of a source become runs of a model.

    Attributes:
        feeds: One entry for each input that the source feeds.
        unit: Samples in one run where the model fixes that; None where it may vary.
    """

    feeds: Mapping[str, Feed]
    unit: int | None

    def assemble(self, samples: Mapping[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
        """The model's inputs for the samples at `rows` of the stacked arrays in `samples`."""
        return {name: _lay(np.asarray(samples[name])[rows], feed) for name, feed in self.feeds.items()}


def plan_runs(model: ir.Model, shapes: Mapping[str, tuple[int, ...]]) -> RunPlan:
    """The plan for a source whose arrays have `shapes` (first axis: samples).

    Raises:
        DataError: Where an input is missing, or its rank fits neither reading.
    """
    axes = batch_axis(model)
    feeds: dict[str, Feed] = {}
    units: dict[str, int] = {}
    for value in real_inputs(model):
        name = value.name or ""
        if name not in shapes:
            why, hint = f"it has {', '.join(sorted(shapes)) or 'no arrays'}", "Rename it, or map it with --map."
            raise DataError("the data lacks a model input", where=f"input {name}", why=why, hint=hint, code="DATA-NAME")
        feeds[name], unit = _feed(name, dims_of(value), shapes[name], axes.get(name))
        if unit is not None:
            units[name] = unit
    return RunPlan(feeds, _common_unit(units))


def _feed(name: str, dims: tuple[Dim, ...] | None, shape: tuple[int, ...], axis: int | None) -> tuple[Feed, int | None]:
    """The layout of one input and the number of samples that it fixes a run to."""
    if dims is None:
        return Feed(0), None
    if len(shape) == len(dims) + 1:
        if axis is not None:
            joined = shape[axis + 1] == 1
            return Feed(axis if joined else None, whole=True), None if joined else 1
        return Feed(None, whole=True, shared=True), None if _batched_elsewhere(dims) else 1
    if len(shape) == len(dims) and dims:
        return (Feed(axis), None) if axis is not None else (Feed(0), int(dims[0] or 1))
    why = f"its samples have {len(shape) - 1} dims and the model wants {list(dims)}"
    hint = "Give one sample an entry of the first axis: (samples, *the input's dims without the batch)."
    raise DataError("the data does not fit the model", where=f"input {name}", why=why, hint=hint, code="DATA-RANK")


def _batched_elsewhere(dims: tuple[Dim, ...]) -> bool:
    """True for scalars and settings, which a whole batch can share; an input with a fixed first axis cannot."""
    return not dims


def _common_unit(units: Mapping[str, int]) -> int | None:
    if len(set(units.values())) <= 1:
        return next(iter(units.values()), None)
    told = ", ".join(f"{name}: {unit}" for name, unit in units.items())
    why = f"one run takes a different number of samples at each input ({told})"
    hint = "Give every input whole, (samples, *all of the input's dims)."
    raise DataError("the data does not fit the model", why=why, hint=hint, code="DATA-UNIT")


def _lay(block: np.ndarray, feed: Feed) -> np.ndarray:
    if feed.axis is None:
        return np.ascontiguousarray(block[0])
    if feed.whole:
        block = block.squeeze(feed.axis + 1)
    return np.ascontiguousarray(np.moveaxis(block, 0, feed.axis))
