"""A scale and a shift for every channel, where more cannot be fitted: norms, and layers beyond the memory ceiling.

Of y' = a y + b, channel by channel, three candidates and a = 1, b = 0 are compared on held-out rows:

    shift            a = 1,                    b = mean(t) - mean(y)
    moments          a = std(t) / std(y),      b = mean(t) - a mean(y)      (REPAIR, Jordan et al. 2022)
    least squares    a = cov(y, t) / var(y),   b = mean(t) - a mean(y)

Matched moments keep the spread that averaging takes away; least squares errs least where y still follows t.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.slots import Slot, slot_of

_LIMITS = (0.2, 5.0)
_NORMS = {"BatchNormalization": 1, "InstanceNormalization": 1, "LayerNormalization": -1, "GroupNormalization": 1}


@dataclass(frozen=True)
class Affine:
    """What was found for every channel.

    Attributes:
        scale: a.
        shift: b.
        before: Held-out squared error of y, all channels together, relative to the power of t.
        after: The same of y'.
    """

    scale: np.ndarray
    shift: np.ndarray
    before: float
    after: float


def fit_affine(y: np.ndarray, t: np.ndarray, folds: np.ndarray) -> Affine:
    """The best candidate of every channel.

    Args:
        y: The student's rows, shape (n, channels).
        t: The teacher's.
        folds: Fold of each row; fold 0 judges.
    """
    judged, target = (a[folds == 0].astype(np.float64) for a in (y, t))
    y, t = (a[folds != 0].astype(np.float64) for a in (y, t))
    means, spread = (y.mean(axis=0), t.mean(axis=0)), np.maximum(y.std(axis=0), 1e-12)
    together = ((y - means[0]) * (t - means[1])).mean(axis=0)
    ratios = np.stack([np.ones_like(spread), t.std(axis=0) / spread, together / np.square(spread)])
    scales = np.concatenate([np.ones((1, len(spread))), np.clip(ratios, *_LIMITS)])
    shifts = means[1] - scales * means[0]
    shifts[0] = 0.0
    errors = np.square(scales[:, None] * judged + shifts[:, None] - target).sum(axis=1)
    best = (errors.argmin(axis=0), np.arange(len(spread)))
    power = max(float(np.square(target).sum()), 1e-30)
    return Affine(scales[best], shifts[best], float(errors[0].sum()) / power, float(errors[best].sum()) / power)


@dataclass(frozen=True)
class Norm:
    """A normalisation with a constant scale and bias.

    Attributes:
        node: The node.
        axis: Channel axis of its output; -1 for the last.
        scale: Where its scale lies.
        bias: Where its bias lies.
    """

    node: ir.Node
    axis: int
    scale: Slot
    bias: Slot

    @property
    def output(self) -> ir.Value:
        """What it computes."""
        return self.node.outputs[0]

    def axis_of(self, rank: int) -> int:
        """The channel axis of an output of `rank` axes, counted from the end."""
        return self.axis if self.axis < 0 else self.axis - rank

    def store(self, found: Affine) -> None:
        """Fold a and b in."""
        gamma, beta = (slot.read().astype(np.float64) for slot in (self.scale, self.bias))
        self.scale.write(gamma * found.scale)
        self.bias.write(beta * found.scale + found.shift)


def norm_of(node: ir.Node) -> Norm | None:
    """The node as a normalisation whose channels can be rescaled; None where it is none, or a linear node feeds it."""
    if node.op_type not in _NORMS or node.domain not in ("", "ai.onnx"):
        return None
    scale, bias, source = slot_of(node, 1), slot_of(node, 2), node.inputs[0]
    if scale is None or bias is None or source is None or scale.read().ndim != 1 or bias.read().ndim != 1:
        return None
    maker = source.producer()
    fitted = maker is not None and maker.op_type in ("Conv", "ConvTranspose", "Gemm") and len(list(source.uses())) == 1
    return None if fitted and node.op_type == "BatchNormalization" else Norm(node, _NORMS[node.op_type], scale, bias)


def store_linear(linear: Linear, found: Affine) -> None:
    """Fold a and b into a linear node's weights; without a place for a bias, a alone."""
    matrix = linear.matrix(np.float32)
    groups, _, outputs = matrix.shape
    matrix *= found.scale.reshape(groups, 1, outputs).astype(np.float32)
    if linear.takes_bias:
        matrix[:, -1] += found.shift.reshape(groups, outputs).astype(np.float32)
    linear.store(matrix)
