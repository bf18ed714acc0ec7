"""Weight-only quantization: which constants are weights, along which axis, and what takes their place."""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import attribute, in_scope, label, tensor_of
from onnxcompress.passes.quantization.edit import drop_unused
from onnxcompress.passes.quantization.integer_weights import Weight, WeightWriter
from onnxcompress.passes.quantization.linear import is_linear, linear_of
from onnxcompress.passes.quantization.narrow_weights import Narrow, write_narrow
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

RECURRENT_OPS = ("LSTM", "GRU", "RNN")
MOST_ERROR = 0.03
"""Relative error beyond which a weight that only gets smaller by int8, not faster, stays float."""

_NODE_BYTES = 200  # what a DequantizeLinear node and the names of its inputs take in the file


@dataclass(frozen=True)
class Stored:
    """What was stored as integers.

    Attributes:
        weights: How many.
        saved_bytes: What the file loses by it.
        tables: How many of them are tables that are gathered.
    """

    weights: int = 0
    saved_bytes: int = 0
    tables: int = 0


def store_weights(
    model: ir.Model,
    ctx: Context,
    *,
    per_channel: bool = True,
    clip: str = "none",
    op_types: Collection[str] | None = None,
    most_error: float = math.inf,
    narrow: Narrow | None = None,
) -> Generator[Finding, None, Stored]:
    """Store every weight that is still float and worth it as int8 behind a DequantizeLinear; the nodes stay float.

    Args:
        model: The model, edited in place.
        ctx: Its scope and target are used.
        per_channel: One scale for each channel.
        clip: How a channel's scale is chosen, ``none`` or ``mse``.
        op_types: Operators whose weights may be stored so; None for all.
        most_error: Largest relative error |w - s q| / |w| (Frobenius norms) of a weight that is stored so.
        narrow: What takes the place of int8, but for tables: their reader gathers bytes.

    Yields:
        A reason for each weight left float.

    Returns:
        How many were stored, and the bytes saved.
    """
    chosen = in_scope(model, ctx.scope.only, ctx.scope.exclude)
    writer = WeightWriter(model, ctx.target, per_channel=per_channel, clip=clip)
    stored = Stored()
    for weight in list(_weights(model)):
        if op_types is not None and weight.reader.op_type not in op_types:
            continue
        odd = narrow is not None and narrow.is_odd(_array(weight).shape)
        form = None if weight.table or odd else narrow
        saved, reason = _saved(weight, form), _reason(weight, chosen, form)
        if reason is None and form is not None:
            write_narrow(model.graph, writer.taken, weight, _array(weight), form)
        elif reason is None:
            reason = writer.replace(weight, most_error)
        if reason is not None:
            yield Finding(*reason, node=weight.value.name or "")
            continue
        if narrow is not None and form is None:
            yield Finding(*_wider(weight, narrow), node=weight.value.name or "")
        stored = Stored(stored.weights + 1, stored.saved_bytes + saved, stored.tables + weight.table)
    drop_unused(model)
    return stored


def weights_left_float(model: ir.Model, ctx: Context, *, per_channel: bool = True) -> Iterator[Finding]:
    """After integers went to the nodes that compute in them: int8 weights for the nodes that stay float.

    Recurrent weights, embedding tables and the weights of islands, where the target reads such weights
    (`Target.weight_only`) and int8 is exact enough for them.

    Args:
        model: The model, edited in place.
        ctx: Its scope and target are used.
        per_channel: One scale for each channel.
    """
    told = ("QUANT-INEXACT", "QUANT-NOT-FINITE")
    run = store_weights(model, ctx, per_channel=per_channel, op_types=ctx.target.weight_only, most_error=MOST_ERROR)
    stored = Stored()

    def every() -> Iterator[Finding]:
        nonlocal stored
        stored = yield from run

    yield from (finding for finding in every() if finding.code in told)
    if stored.weights:
        numbers = {"weights": stored.weights, "saved_bytes": stored.saved_bytes}
        message = f"int8 stored for {stored.weights} weight(s) of nodes that compute in float"
        yield Finding("QUANT-WEIGHTS", message, numbers=numbers)


def _weights(model: ir.Model) -> Iterator[Weight]:
    """Weights of the main graph, each once, in the order of their first reader."""
    seen: set[ir.Value] = set()
    for node in model.graph:
        for weight in weights_of(node):
            if weight.value not in seen:
                seen.add(weight.value)
                yield weight


def weights_of(node: ir.Node) -> Iterator[Weight]:
    """What a node reads as weights, as far as they can be stored as integers."""
    if node.domain not in ("", "ai.onnx"):
        return
    if is_linear(node):
        linear = linear_of(node)
        if linear.weight is not None:
            yield Weight(linear.value(linear.weight), linear.axis, node)
    elif node.op_type in RECURRENT_OPS:
        found = (v for v in node.inputs[1:3] if v is not None and tensor_of(v) is not None)
        yield from (Weight(v, 1, node, rows=True) for v in found)
    elif node.op_type == "Gather" and attribute(node, "axis", 0) == 0 and tensor_of(node.inputs[0]) is not None:
        value = node.inputs[0]
        readers = [(use.node, use.idx) for use in value.uses()] if value is not None else []
        if value is not None and all(n.op_type == "Gather" and i == 0 and n.graph is node.graph for n, i in readers):
            yield Weight(value, -1, node, table=True)


def _wider(weight: Weight, narrow: Narrow) -> tuple[str, str]:
    """Why a weight has int8 in place of the narrow numbers."""
    if weight.table:
        why = "rows are gathered as stored and dequantized after, which 8 bits can and blocks cannot say"
        return "QUANT-TABLE", f"table stored as int8, not {narrow.kind.name}: {why}"
    why = "the target packs 4-bit numbers in pairs, and its last dim is odd"
    return "QUANT-ODD", f"weight stored as int8, not {narrow.kind.name}: {why}"


def _array(weight: Weight) -> np.ndarray:
    tensor = tensor_of(weight.value)
    assert tensor is not None
    return tensor.numpy()


def _reason(weight: Weight, chosen: set[str], narrow: Narrow | None) -> tuple[str, str] | None:
    tensor = tensor_of(weight.value)
    assert tensor is not None
    if label(weight.reader) not in chosen:
        return "QUANT-EXCLUDED", "weight left float because --exclude or --only says so"
    if tensor.dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return "QUANT-DTYPE", f"weight left as it is: its type is {tensor.dtype.name}"
    if weight.table and len(tensor.shape) < 2:
        return "QUANT-SMALL", "table left float: its rows are single numbers"
    if weight.rows and len(tensor.shape) != 3:
        return "QUANT-SHAPE", f"weight left float: its rank is {len(tensor.shape)}, not 3"
    if _saved(weight, narrow) <= 0:
        return "QUANT-SMALL", "weight left float: scales and nodes would take more than narrower numbers save"
    if not np.isfinite(tensor.numpy()).all():
        return "QUANT-NOT-FINITE", "weight left float: it holds NaN or infinity, which no integer stands for"
    return None


def _saved(weight: Weight, narrow: Narrow | None) -> int:
    tensor = tensor_of(weight.value)
    assert tensor is not None
    shape = tuple(tensor.shape.numpy())
    if narrow is not None:
        return narrow.saved(weight, shape, tensor.dtype.itemsize) - _NODE_BYTES
    size = int(np.prod(shape, dtype=np.int64))
    channels = 1 if weight.axis is None else shape[weight.axis] * (shape[0] if weight.rows else 1)
    wide = tensor.dtype.itemsize
    return int(size * (wide - 1) - channels * (wide + 1) - _NODE_BYTES)
