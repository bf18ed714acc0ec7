"""A layer's integers as a matrix problem, and back: its grid, whether its scales may change, and what is stored."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.quantization.bias import least_weight_scale
from onnxcompress.passes.quantization.rounding.bias_writing import accumulator_scale, activation_scale, bias_of
from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.nearest_plane import Levels
from onnxcompress.passes.quantization.rounding.slots import QuantizedSlot
from onnxcompress.passes.reconstruction.form import Linear


def levels_of(layer: Linear) -> Levels:
    """The grid in the form of `Linear.to_matrix`, a Gemm's alpha in its steps."""
    slot = _slot(layer)
    scale = layer.to_matrix(slot.seen(slot.stored.scales())).astype(np.float64) * layer.scale
    ends = [end if np.ndim(end) == 0 else layer.to_matrix(slot.seen(end)) for end in slot.stored.limits()]
    return Levels(scale, *(np.asarray(end, np.float64) for end in ends))


def least_scales(layer: Linear, levels: Levels) -> np.ndarray | None:
    """The smallest scales that the layer's outputs may have, (groups, 1, outputs); None where scales must stay.

    They may change where each output has one of its own that nobody else reads, and the scale of an int32 bias can
    follow. Twice the bias that is there must fit into int32.
    """
    stored = _slot(layer).stored
    groups, _, outputs = levels.scale.shape
    own = graph.tensor_of(stored.scale)
    if own is None or int(own.size) != groups * outputs or layer.scale != 1.0 or own.dtype != ir.DataType.FLOAT:
        return None
    if not _alone(stored.scale) or np.ptp(levels.scale, axis=1).any():
        return None
    least = np.full((groups, 1, outputs), 1e-20)
    if not isinstance(layer.offset, QuantizedSlot):
        return least
    data = activation_scale(layer.node.inputs[1 - layer.kernel.index])
    if data is None or accumulator_scale(layer) is None or not _follows(layer.offset, groups * outputs):
        return None
    return np.maximum(least, least_weight_scale(2 * bias_of(layer), data).reshape(least.shape))


def write_scales(layer: Linear, levels: Levels, journal: Journal) -> None:
    """Store scales that `least_scales` allowed, and s_x s_w for an int32 bias; its integers must be written after."""
    stored = _slot(layer).stored
    former = graph.array_of(stored.scale)
    assert former is not None
    journal.set(stored.scale, levels.scale[:, 0].reshape(former.shape).astype(former.dtype))
    if isinstance(layer.offset, QuantizedSlot):
        scale = accumulator_scale(layer)
        assert scale is not None
        journal.set(layer.offset.stored.scale, scale)


def write_integers(layer: Linear, numbers: np.ndarray, journal: Journal) -> None:
    """Store integers in the form of `Linear.to_matrix`."""
    slot = _slot(layer)
    whole = layer.from_matrix(np.rint(numbers).astype(np.int32), slot.read().shape)
    journal.set(slot.stored.value, slot.stored.encoded(np.ascontiguousarray(slot.unseen(whole))))


def _follows(bias: QuantizedSlot, outputs: int) -> bool:
    """Whether a bias has one scale of its own for each output."""
    scale = graph.tensor_of(bias.stored.scale)
    return scale is not None and int(scale.size) == outputs and not bias.shared and _alone(bias.stored.scale)


def _alone(value: ir.Value) -> bool:
    return len(list(value.uses())) == 1


def _slot(layer: Linear) -> QuantizedSlot:
    assert isinstance(layer.kernel, QuantizedSlot)
    return layer.kernel
