"""A layer's bias put back: int32 at the scale of the accumulator where it is or must be that, else float.

The scale of an int32 bias is exactly s_x s_w (see `passes.quantization.bias`), so that only integers change.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.quantization.bias import bias_scale, quantized_bias
from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.slots import QuantizedSlot
from onnxcompress.passes.reconstruction.form import Linear


def bias_of(layer: Linear) -> np.ndarray:
    """The bias as the layer adds it, float64, one number for each output."""
    groups, _, outputs = layer.shape()
    if layer.offset is None:
        return np.zeros(groups * outputs)
    vector = layer.offset.read().astype(np.float64).reshape(-1) * layer.bias_scale
    return np.broadcast_to(vector, (groups * outputs,)).copy()


def write_bias(layer: Linear, bias: np.ndarray, journal: Journal, *, integer: bool) -> None:
    """Store `bias`, one number for each output; the layer must have a place for it (`Linear.takes_bias`).

    Args:
        layer: The layer.
        bias: What it should add.
        journal: Remembers the edits.
        integer: A bias that is not there yet becomes int32, where its scale is known.
    """
    vector = bias / layer.bias_scale
    slot = layer.offset
    whole = slot is not None and slot.read().size == vector.size
    if isinstance(slot, QuantizedSlot) and whole and not slot.shared:
        _integers(slot, vector, journal)
    elif slot is not None and whole and not slot.shared and not isinstance(slot, QuantizedSlot) and not slot.chain:
        former = graph.array_of(slot.source)
        assert former is not None
        journal.set(slot.source, vector.reshape(former.shape).astype(former.dtype))
    else:
        _new(layer, vector, journal, integer=integer or isinstance(slot, QuantizedSlot))


def _integers(slot: QuantizedSlot, vector: np.ndarray, journal: Journal) -> None:
    stored = slot.stored
    low, high = stored.wide_limits()
    wide = slot.unseen(vector.reshape(slot.read().shape))
    steps = np.clip(np.round(wide / stored.scales().astype(np.float64)), low, high)
    journal.set(stored.value, stored.encoded(steps.astype(np.int64).astype(np.int32)))


def _new(layer: Linear, vector: np.ndarray, journal: Journal, *, integer: bool) -> None:
    """A bias of the layer's own, where it has none, shares it, or has one number for all outputs."""
    place = (layer.offset.node, layer.offset.index) if layer.offset is not None else (layer.node, 2)
    base = f"{layer.output.name}_bias"
    scale = accumulator_scale(layer) if integer and place[0] is layer.node else None
    if scale is None:
        kind = layer.kernel.read().dtype
        shape = layer.offset.read().shape if layer.offset is not None else vector.shape
        shape = shape if np.prod(shape, dtype=np.int64) == vector.size else vector.shape
        journal.redirect(*place, journal.constant(base, vector.reshape(shape).astype(kind)))
        return
    numbers = quantized_bias(vector, np.broadcast_to(scale, vector.shape) if scale.ndim else scale)
    inputs = [journal.constant(f"{base}_quantized", numbers), journal.constant(f"{base}_scale", scale)]
    journal.redirect(*place, journal.dequantize(base, inputs, 0 if scale.ndim else None, layer.node))


def accumulator_scale(layer: Linear) -> np.ndarray | None:
    """s_x s_w, a scalar or one for each output; None where one of them is not known, or beside an alpha."""
    data = activation_scale(layer.node.inputs[1 - layer.kernel.index])
    if not isinstance(layer.kernel, QuantizedSlot) or data is None or layer.scale != 1.0 or layer.bias_scale != 1.0:
        return None
    weight = graph.array_of(layer.kernel.stored.scale)
    if weight is None or weight.dtype != np.float32 or weight.ndim > 1:
        return None
    groups, _, outputs = layer.shape()
    return bias_scale(data, weight) if weight.ndim == 0 or weight.size == groups * outputs else None


def activation_scale(value: ir.Value | None) -> np.ndarray | None:
    """The scale of the pair that a layer reads its input from."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear":
        return None
    scale = graph.array_of(node.inputs[1])
    return scale.reshape(()) if scale is not None and scale.size == 1 and scale.dtype == np.float32 else None
