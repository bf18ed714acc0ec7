"""How much rounding noise a choice of scales leaves: the objective of equalization.

All powers are relative to the output of the node that the noise enters, in the units of the original model, so that
they can be added over a model. For a node y = W x with scales s on its input and t on its output, x' = x / s and
W' = W s / t, with Q for rounding to the grid:

    activations  sum_j  s_j^2 E[(Q(x'_j) - x'_j)^2]  sum_i W_ij^2          / P
    weights      sum_ij (Q(W'_ij) - W'_ij)^2 t_i^2 E[x_j^2] / s_j^2 g_i               P = sum_ij W_ij^2 E[x_j^2]

where g_i is what noise in output channel i does to the nodes that read it, or 1 / P where that is not known, with
errors taken as independent of each other. The activations' grid is the one of least squared error among a few clips of
their range, as `calibrators.mse` would choose it; weights take their largest magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.pruning.atoms import Ids

CLIPS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.28, 0.18)
_LEAST = 1e-30


@dataclass(frozen=True, eq=False)
class Weight:
    """The constant factor of a multiplying node.

    Attributes:
        array: Its numbers, float32; of a large one some rows.
        read: Atoms of the input channels, broadcasting with it.
        made: Atoms of the output channels, broadcasting with it.
        axis: Axis with one quantization scale for each index; None for one scale.
        power: E[x^2] of what it multiplies, broadcasting with it, in the units of the original.
        worth: What noise in each output channel counts, broadcasting with it: as much as it does where it is read
            (`Tensor.gains`), 1 / P where that is not known.
    """

    array: np.ndarray
    read: Ids
    made: Ids
    axis: int | None
    power: np.ndarray
    worth: np.ndarray

    def strength(self) -> float:
        """P: power of the output, up to a factor."""
        return max(float((np.square(self.array) * self.power).sum()), _LEAST)


@dataclass(frozen=True, eq=False)
class Tensor:
    """An input of multiplying nodes.

    Attributes:
        ids: Atoms of its channels.
        values: Of shape (channels, values).
        gains: sum_i W_ij^2 / P by channel, summed over the nodes that read it.
    """

    ids: Ids
    values: np.ndarray
    gains: np.ndarray


def activation_noise(tensor: Tensor, scales: np.ndarray, *, symmetric: bool) -> float:
    """The first sum; `scales` by atom."""
    by = scales[tensor.ids][:, None].astype(np.float32)
    scaled = tensor.values / by
    low, high = min(float(scaled.min()), 0.0), max(float(scaled.max()), 0.0)
    if symmetric:
        high = max(high, -low)
        low = -high
    best = np.zeros(len(scaled))
    least = np.inf
    for clip in CLIPS:
        error = _error(scaled, low * clip, high * clip)
        if error.sum() < least:
            best, least = error, float(error.sum())
    return float((best * np.square(scales[tensor.ids]) * tensor.gains).sum())


def _error(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mean squared error of each channel on 256 levels."""
    step = max((high - low) / 255, _LEAST)
    first = np.round(low / step)
    steps = np.clip(np.round(values / np.float32(step)), first, first + 255) * np.float32(step)
    return np.square(steps - values).mean(axis=1, dtype=np.float64)


def weight_noise(weight: Weight, scales: np.ndarray, *, limit: int) -> float:
    """The second sum; `scales` by atom, `limit` the largest integer."""
    into, out = scales[weight.read], scales[weight.made]
    moved = weight.array * into / out
    others = tuple(a for a in range(moved.ndim) if a != weight.axis)
    step = np.maximum(np.abs(moved).max(axis=others, keepdims=True) / limit, _LEAST)
    error = np.square(np.round(moved / step) * step - moved)
    return float((error * np.square(out / into) * weight.power * weight.worth).sum())


def powers(tensor_ids: Ids, values: np.ndarray, atoms: int) -> np.ndarray:
    """E[x^2] by atom for the channels of one tensor; channels of one class are averaged."""
    count = np.bincount(tensor_ids, minlength=atoms)
    total = np.bincount(tensor_ids, np.square(values, dtype=np.float64).mean(axis=1), minlength=atoms)
    return total / np.maximum(count, 1)
