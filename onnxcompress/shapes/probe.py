"""Seeded inputs that a model accepts, for oracles of equality and for shapes. Never for calibration or quality.

Fixed axes are taken as declared, batch axes as asked, other free axes by symbol: the first size of a short list with
which ONNX Runtime runs the model. Integers stay within the tables that they index.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import DataError, ModelError, UsageError
from onnxcompress.runtime import Session, batch_axis, dims_of, real_inputs, runnable_part
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes.bounds import IntegerUse, integer_use

SIZES = (32, 64, 16, 128, 512, 256, 8, 4, 2, 1, 640, 1024, 2048)
"""Sizes tried for free axes that are not a batch: multiples of 32 first, for networks that halve five times."""

FREE = -1
"""Size of an axis in a given shape that is left as the model has it."""

_LARGEST = 1 << 24
"""Most elements of an input that a guessed size may give: where every axis is free, 2048 on each would fill memory."""

_REFUSED = {
    ir.DataType.STRING: "strings",
    ir.DataType.COMPLEX64: "complex numbers",
    ir.DataType.COMPLEX128: "complex numbers",
    ir.DataType.UNDEFINED: "an undefined type",
}


def probe_feeds(
    model: ir.Model,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch: int = 2,
    seed: int = 0,
    options: RuntimeOptions | None = None,
) -> dict[str, np.ndarray]:
    """Inputs by name, float ones standard normal, token ids below their table's size.

    Args:
        model: Any model; the part of it that ONNX Runtime can run is probed.
        shapes: Full shapes by input name, where they are given; `FREE` leaves an axis as the model has it.
        batch: Size of the batch axes that the model leaves free.
        seed: Of the draws; same seed, same inputs.
        options: Custom operators for the trial runs.

    Raises:
        ModelError: Where an input's type has no numbers, its rank is unknown, or no size tried makes the model run.
        UsageError: Where `shapes` does not fit the model.
    """
    part, _ = runnable_part(model, options)
    inputs = real_inputs(part)
    for value in inputs:
        _check_type(value)
    given = bind_shapes(inputs, shapes or {})
    uses = {v.name or "": integer_use(part, v) for v in inputs if v.dtype is not None and v.dtype.is_integer()}
    trials = _trials(part, inputs, given, uses, batch=batch, seed=seed, shapes=shapes or {})
    first = next(trials)
    if not _uncertain(inputs, given, uses, set(batch_symbols(part)), shapes or {}):
        return first
    return _first_that_runs(part, itertools.chain([first], trials), options)


def symbol(value: ir.Value, axis: int) -> str | None:
    """Name under which a free axis is bound; unnamed axes stand for themselves; None where the axis is fixed."""
    dim = (dims_of(value) or ())[axis]
    return None if isinstance(dim, int) else (dim or f"{value.name}:{axis}")


def batch_symbols(model: ir.Model) -> list[str]:
    """Symbols of the batch axes of the model's inputs."""
    axes = batch_axis(model)
    named = [symbol(value, axes[value.name]) for value in real_inputs(model) if value.name in axes]
    return list(dict.fromkeys(name for name in named if name is not None))


def bind_shapes(inputs: list[ir.Value], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes by symbol that the user's shapes imply.

    Raises:
        UsageError: Where a name, a rank, a fixed axis or a repeated symbol does not agree.
    """
    known = {value.name or "": value for value in inputs}
    bound: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in known:
            raise _shape_error(name, f"the model has no such input; it has {', '.join(known)}")
        dims = dims_of(known[name])
        if dims is not None and len(dims) != len(shape):
            raise _shape_error(name, f"the input has {len(dims)} axes and {len(shape)} were given")
        for axis, dim in enumerate(dims or ()):
            if shape[axis] == FREE:
                continue
            key = symbol(known[name], axis)
            expected = dim if key is None else bound.setdefault(key, shape[axis])
            if expected != shape[axis] or shape[axis] < 0:
                raise _shape_error(name, f"axis {axis} is {expected} and {shape[axis]} was given")
    return bound


def _shape_error(name: str, why: str) -> UsageError:
    hint = "Give the whole shape, batch included: --shape NAME:1x3x224x224."
    return UsageError("the shape does not fit the model", where=f"input {name}", why=why, hint=hint, code="USAGE-SHAPE")


def _check_type(value: ir.Value) -> None:
    kind = value.type
    tensor = kind is None or isinstance(kind, ir.TensorType)
    why = _REFUSED.get(value.dtype or ir.DataType.UNDEFINED) if tensor else "a sequence, an optional or a map"
    if not why and value.dtype is not None and value.dtype.bitwidth < 8:
        why = f"{value.dtype.name}, which numpy lacks"
    if why:
        hint = "Give samples of your own with --data."
        where = f"input {value.name}"
        raise ModelError(
            "cannot make inputs for the model", where=where, why=f"it takes {why}", hint=hint, code="MODEL-INPUT-TYPE"
        )


def _uncertain(
    inputs: list[ir.Value],
    given: Mapping[str, int],
    uses: Mapping[str, IntegerUse],
    batches: set[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> bool:
    """True where only a run can tell whether the first guess is accepted."""
    if any(len(dims_of(v) or ()) < 2 and v.name not in shapes for v in inputs):
        return True  # a scalar or a list of settings may have to be positive
    symbols = {symbol(v, axis) for v in inputs if v.name not in shapes for axis in range(len(dims_of(v) or ()))}
    free = symbols - {None} - set(given)
    return bool(free - batches) or any(use.size is None for use in uses.values()) or bool(free)


def _trials(
    model: ir.Model,
    inputs: list[ir.Value],
    given: Mapping[str, int],
    uses: Mapping[str, IntegerUse],
    *,
    batch: int,
    seed: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> Iterator[dict[str, np.ndarray]]:
    """Guesses, likeliest first: sizes, then what integers hold, then a batch of one."""
    batches = batch_symbols(model)
    for samples in dict.fromkeys((batch, 1)):
        for size in SIZES:
            bound = {**dict.fromkeys(batches, samples), **given}
            dims = {v.name or "": _concrete(v, bound, size, shapes) for v in inputs}
            if size > min(SIZES) and any(math.prod(d) > _LARGEST for n, d in dims.items() if n not in shapes):
                continue
            for fill in range(3 if uses else 1):
                for positive in (False, True):
                    draw = np.random.Generator(np.random.PCG64(seed))
                    yield {
                        v.name or "": _draw(draw, v, dims[v.name or ""], uses.get(v.name or ""), fill, positive)
                        for v in inputs
                    }


def _concrete(
    value: ir.Value, bound: Mapping[str, int], size: int, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[int, ...]:
    dims = dims_of(value)
    if value.name is not None and value.name in shapes and FREE not in shapes[value.name]:
        return tuple(shapes[value.name])
    if dims is None:
        hint = f"Give it with --shape {value.name}:1x3x224x224."
        where = f"input {value.name}"
        raise ModelError(
            "cannot make inputs for the model",
            where=where,
            why="it declares no shape",
            hint=hint,
            code="MODEL-NO-SHAPE",
        )
    return tuple(d if isinstance(d, int) else _size(symbol(value, a) or "", bound, size) for a, d in enumerate(dims))


def _size(name: str, bound: Mapping[str, int], size: int) -> int:
    """Size of a symbol; expressions of other symbols, as exporters write them, follow those."""
    if name in bound:
        return bound[name]
    parts = name.replace(" ", "").split("+")
    if len(parts) > 1:
        return sum(int(part) if part.isdigit() else bound.get(part, size) for part in parts)
    return 2 * size if "total" in name and "batch" not in name else size  # cached and new tokens together


def _draw(
    draw: np.random.Generator,
    value: ir.Value,
    shape: tuple[int, ...],
    use: IntegerUse | None,
    fill: int,
    positive: bool,
) -> np.ndarray:
    kind = value.dtype or ir.DataType.FLOAT
    if kind == ir.DataType.BOOL:
        return draw.integers(0, 2, shape).astype(bool)
    if use is None:
        return (draw.random(shape) if positive else draw.standard_normal(shape)).astype(kind.numpy())
    if use.size is not None:
        return draw.integers(0, use.size, shape).astype(kind.numpy())
    if kind.itemsize == 1:
        info = np.iinfo(kind.numpy())
        return draw.integers(info.min, info.max + 1, shape).astype(kind.numpy())
    guesses = list(dict.fromkeys((*use.compared, 1, 0, 2)))
    return np.full(shape, guesses[min(fill, len(guesses) - 1)], dtype=kind.numpy())


def _first_that_runs(
    part: ir.Model, trials: Iterator[dict[str, np.ndarray]], options: RuntimeOptions | None
) -> dict[str, np.ndarray]:
    session = Session(part, options, optimize=False)
    runs: dict[str, np.ndarray] | None = None
    seen: set[tuple[tuple[int, ...], ...]] = set()
    fault: Exception | None = None
    for feeds in trials:
        sizes = tuple(array.shape for array in feeds.values())
        if runs is not None and sizes != tuple(array.shape for array in runs.values()):
            break
        try:
            outputs = session.run(feeds)
        except (ModelError, DataError) as error:
            fault = fault or error
            continue
        if all(_finite(array) for array in outputs.values()):
            return feeds
        runs = runs or feeds
        seen.add(sizes)
    if runs is not None:
        return runs
    hint = "Give sizes that the model accepts with --shape NAME:1x3x224x224, or samples with --data."
    why = getattr(fault, "why", "") or str(fault)
    where = getattr(fault, "where", "")
    raise ModelError("found no input that the model accepts", where=where, why=why, hint=hint, code="MODEL-NO-PROBE")


def _finite(array: object) -> bool:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fV":
        return True
    return bool(np.isfinite(array.astype(np.float32)).all())
