"""Inputs for the oracles: the sizes under which the model was traced, another batch, other lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from onnxcompress.errors import CompressError
from onnxcompress.passes.base import Context
from onnxcompress.runtime import batch_axis, dims_of, feeds_of, real_inputs
from onnxcompress.shapes import probe_feeds
from onnxcompress.shapes.probe import symbol
from onnxcompress.shapes.table import ShapeTable

Feeds = Mapping[str, np.ndarray]


def traced_probe(model: ir.Model, table: ShapeTable, ctx: Context) -> Feeds:
    """The inputs under which the model was traced; a sample of the user's where none could be made up.

    Raises:
        ModelError: Where there is neither.
    """
    if table.feeds or not real_inputs(model):
        return table.feeds
    if ctx.data is not None:
        return dict(next(feeds_of(model, ctx.data, batch=2)).arrays)
    return probe_feeds(model, shapes=ctx.shapes, seed=ctx.seed, options=ctx.runtime)


def other_batch(model: ir.Model, table: ShapeTable, ctx: Context) -> Feeds | None:
    """Inputs at a batch of three, which the trace did not see; None where the batch is fixed."""
    if not batch_axis(model) or ctx.shapes or not table.feeds:
        return None
    return probe_feeds(model, batch=3, seed=ctx.seed + 1, options=ctx.runtime)


def other_lengths(model: ir.Model, table: ShapeTable, ctx: Context) -> Feeds | None:
    """Inputs with other sizes on the free axes besides the batch; None where there are none that the model accepts."""
    if ctx.shapes or not set(table.symbols) - set(table.batch_names):
        return None
    for times, per in ((1, 2), (2, 1), (3, 4)):
        sizes = {n: s if n in table.batch_names else s * times // per for n, s in table.symbols.items()}
        shapes = {value.name or "": _sized(value, sizes) for value in real_inputs(model)}
        if any(0 in shape for shape in shapes.values()):
            continue
        try:
            return probe_feeds(model, shapes=shapes, seed=ctx.seed + 2, options=ctx.runtime)
        except CompressError:  # lengths that this model does not take
            continue
    return None


def _sized(value: ir.Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
    dims = dims_of(value) or ()
    return tuple(d if isinstance(d, int) else sizes.get(symbol(value, a) or "", 0) for a, d in enumerate(dims))
