"""Empirical bias correction: what rounding and clipping shift in the mean goes into the next bias.

Rounding a weight moves the mean of each output: E[(w_q - w) x] is not zero where E[x] is not (after a ReLU it never
is), and clipped or drifted inputs add to it. For the output y of a layer, c its channel, over samples and positions

    d_c = E[t_c - y_c],     b_c <- b_c + d_c

where y is the student's, every earlier layer corrected, and t the teacher's (its sum after a residual Add less the
student's shortcut, where y goes into one). With the mean m of t - y on samples that took no part, the squared error
there changes by d (d - 2 m): a channel for which that is not negative keeps its bias.

Source: Nagel et al. 2019 (Data-Free Quantization, section 4.2, empirical); Finkelstein et al. 2019.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from onnxcompress.graph import label
from onnxcompress.passes.quantization.rounding.bias_writing import bias_of, write_bias
from onnxcompress.passes.quantization.rounding.journal import Journal
from onnxcompress.passes.quantization.rounding.twins import Twins
from onnxcompress.passes.quantization.rounding.walk import walk
from onnxcompress.passes.reconstruction.aims import Aim
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.data import DataSource
    from onnxcompress.passes.base import Context

_WORTH = 1e-4
"""A layer whose error would fall by a smaller share than this keeps its very bytes."""


def correct_bias(model: ir.Model, teacher: ir.Model, samples: DataSource, ctx: Context) -> list[Finding]:
    """Add to every bias what its layer's output lacks in the mean, layer after layer.

    Args:
        model: The quantized model; biases are edited in place (one may be added to a Conv or Gemm without).
        teacher: The float model; tensors are matched by name.
        samples: What to run; labels are not used.
        ctx: Scope, target (whether new biases are int32), runtime, memory ceiling, progress.

    Returns:
        One finding a layer, and one for the whole: it is undone where the outputs did not come closer to the
        teacher's on batches that took no part.

    Raises:
        ModelError: Where the teacher is quantized itself or takes other inputs.
    """
    return walk(model, teacher, samples, ctx, "BIAS", lambda way: _each(way.twins, way.layers, way.journal, ctx))


def _each(twins: Twins, layers: list[Linear], journal: Journal, ctx: Context) -> Iterator[Finding]:
    for done, layer in enumerate(layers):
        ctx.progress("correct bias", done, len(layers))
        name = label(layer.node)
        aim = twins.reach(layer)
        if not layer.takes_bias:
            yield Finding("BIAS-NO-PLACE", "left as it is: it has no bias and no input for one", name)
        elif isinstance(aim, str):
            yield Finding("BIAS-NO-TARGET", f"left as it is: {aim}", name)
        else:
            yield correct_layer(twins, layer, aim, journal, integer=ctx.target.bias == "int32")
        twins.leave(layer)


def correct_layer(twins: Twins, layer: Linear, aim: Aim, journal: Journal, *, integer: bool) -> Finding:
    """One layer that takes a bias, as `correct_bias` does it; the twins must have reached it."""
    name, means = label(layer.node), _means(twins, layer, aim)
    gain, shift = means.gain(), means.shift()
    before = float(means.held_square.sum())
    after = before - float(gain.sum())
    numbers = {"error_before": before / means.power, "error_after": after / means.power}
    if before - after <= _WORTH * before:
        return Finding("BIAS-KEPT", "its mean is right already", name, numbers=numbers)
    write_bias(layer, bias_of(layer) + np.where(gain > 0, shift, 0.0), journal, integer=integer)
    return Finding("BIAS-CORRECTED", "its bias takes what the output lacked in the mean", name, numbers=numbers)


@dataclass(frozen=True)
class _Means:
    """Means of e = t - y over samples and positions, one number for each channel.

    Attributes:
        fitted: Mean of e on the batches that fit.
        held: On those that judge.
        held_square: Mean of e^2 on those that judge.
        share: Share of the rows that judge.
        power: Sum over the channels of the mean of t^2.
    """

    fitted: np.ndarray
    held: np.ndarray
    held_square: np.ndarray
    share: float
    power: float

    def gain(self) -> np.ndarray:
        """By how much the mean square falls on the batches that judge; 0 where it does not."""
        return np.maximum(self.fitted * (2 * self.held - self.fitted), 0.0)

    def shift(self) -> np.ndarray:
        """The mean of e on all batches."""
        return self.fitted * (1 - self.share) + self.held * self.share


def _means(twins: Twins, layer: Linear, aim: Aim) -> _Means:
    sums = {False: np.zeros((2, 1)), True: np.zeros((2, 1))}
    rows, power = {False: 0, True: 0}, 0.0
    for side, y in zip(twins.sides(layer, aim), twins.outputs(layer), strict=True):
        target = side.target.astype(np.float64)
        lacks = np.moveaxis(target - y, layer.channel_axis, -1)
        lacks = lacks.reshape(-1, lacks.shape[-1])
        sums[side.judges] = sums[side.judges] + np.stack([lacks.sum(axis=0), np.square(lacks).sum(axis=0)])
        rows[side.judges] += len(lacks)
        power += float(np.square(target).sum())
    total = max(rows[False] + rows[True], 1)
    (fitted, _), (held, square) = (sums[key] / max(rows[key], 1) for key in (False, True))
    return _Means(fitted, held, square, rows[True] / total, max(power / total, 1e-30))
