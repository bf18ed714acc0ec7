"""From ranges to scales and integers.

A grid of scale s and zero point z stands for the values s (q - z). Everything is computed in float64 and rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcompress.passes.quantization.clipping import least_error_scales, unit_gain_scales
from onnxcompress.passes.quantization.kinds import INT8, WeightKind

_LEAST_SCALE = 1e-20
"""Below this a range counts as zero: products of two such scales must not leave float32."""

_BLOCK = 1 << 22  # elements at a time

_GRIDS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class Grid:
    """Scale and zero point of one tensor.

    Attributes:
        scale: A scalar, or one for each channel; float32 or float16.
        zero: Same shape; an integer type.
    """

    scale: np.ndarray
    zero: np.ndarray


def levels(dtype: str) -> int:
    """How many values an activation's type has."""
    first, last = _GRIDS[dtype]
    return last - first + 1


def activation_grid(
    low: float, high: float, dtype: str = "uint8", *, symmetric: bool = False, kind: np.dtype[Any] | None = None
) -> Grid:
    """The grid of an activation whose values lie in ``low..high`` (which contains zero).

    Args:
        low: Smallest value to cover.
        high: Largest value to cover.
        dtype: ``uint8``, ``int8``, ``uint16`` or ``int16``.
        symmetric: Zero point 0; the grid is -127..127 of int8, or -32767..32767 of int16, then.
        kind: Float type of the tensor; float32 by default.
    """
    kind = np.dtype(np.float32) if kind is None else kind
    first, last = _GRIDS[dtype]
    if symmetric:
        scale = _settled(max(-low, high) / last, kind)
        return Grid(scale, np.array(0, dtype))
    scale = _settled((high - low) / (last - first), kind)
    zero = np.clip(np.round(first - low / float(scale)), first, last)
    return Grid(scale, np.array(zero, dtype))


def _settled(scale: float, kind: np.dtype[Any]) -> np.ndarray:
    """The scale in the tensor's type; 1 for a tensor that is always zero."""
    least = max(_LEAST_SCALE, float(np.finfo(kind).tiny))
    return np.array(scale if scale >= least else 1.0, kind)


def stored_form(
    weight: np.ndarray,
    axis: int | None,
    *,
    kind: WeightKind = INT8,
    block: int = 0,
    clip: str = "none",
    floor: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers and the scales that stand for a weight; arguments are those of `weight_scales`.

    Returns:
        Numbers of the kind's type and the weight's shape; scales, float32.
    """
    scales = weight_scales(weight, axis, kind=kind, block=block, clip=clip, floor=floor)
    numbers = quantized_weight(weight, scales, axis, kind=kind, block=block)
    if clip == "mse" and kind.integer and floor is None:
        wide, held = (_rows(array, axis, block) for array in (weight, numbers))
        found = unit_gain_scales(wide, held, _row_order(scales, axis, block))
        scales = _from_rows(found, scales.shape, axis, block).astype(np.float32)
    return numbers, scales


def clip_of(clip: str, kind: WeightKind) -> str:
    """The rule behind ``auto``: what least squared error brings at 8 bits is noise, at 4 bits most of the accuracy."""
    return clip if clip != "auto" else ("mse" if kind.bits < INT8.bits else "none")


def weight_scales(
    weight: np.ndarray,
    axis: int | None,
    *,
    kind: WeightKind = INT8,
    block: int = 0,
    clip: str = "none",
    floor: np.ndarray | None = None,
) -> np.ndarray:
    """Scales of a weight whose zero point is 0, float32.

    Args:
        weight: The weight.
        axis: Axis with one scale for each index, or for each `block` indices; None for one scale.
        kind: Type of the stored numbers.
        block: Indices along `axis` that share a scale, for each position on the other axes; 0 for one scale for each
            index of `axis`, whatever the other axes.
        clip: ``none`` covers every element; ``mse`` takes the clip with the least squared error of each scale.
        floor: Smallest scale allowed, per channel (see `bias.least_weight_scale`).

    Returns:
        Scales of the shape that DequantizeLinear wants: a scalar, ``[channels]``, or the weight's shape with `axis`
        divided by `block`, rounded up.
    """
    scales = _covering(weight, axis, kind, block)
    if clip == "mse" and kind.integer:
        found = least_error_scales(_rows(weight, axis, block), _row_order(scales, axis, block), kind, _LEAST_SCALE)
        scales = _from_rows(found, scales.shape, axis, block)
    if floor is not None:
        scales = np.maximum(scales, floor.reshape(scales.shape))
    usual = scales[scales >= _LEAST_SCALE]
    return np.where(scales >= _LEAST_SCALE, scales, usual.max() if usual.size else 1.0).astype(np.float32)


def _covering(weight: np.ndarray, axis: int | None, kind: WeightKind, block: int) -> np.ndarray:
    """Scales under which no element is cut, float64, without a copy of the weight."""
    if block:
        assert axis is not None
        starts = np.arange(0, weight.shape[axis], block)
        high, low = (f.reduceat(weight, starts, axis=axis) for f in (np.maximum, np.minimum))
    else:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        high, low = weight.max(axis=others, initial=0.0), weight.min(axis=others, initial=0.0)
    return np.maximum(np.asarray(high, np.float64) / kind.high, np.asarray(low, np.float64) / kind.low)


def _rows(weight: np.ndarray, axis: int | None, block: int) -> np.ndarray:
    """The weight with one row for each scale; a last block that is short is filled up with zeros."""
    if axis is None:
        return weight.reshape(1, -1)
    if not block:
        return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    last = np.moveaxis(weight, axis, -1)
    missing = -weight.shape[axis] % block
    filled = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, missing)]) if missing else last
    return filled.reshape(-1, block)


def _row_order(scales: np.ndarray, axis: int | None, block: int) -> np.ndarray:
    return np.moveaxis(scales, axis, -1).reshape(-1) if block and axis is not None else scales.reshape(-1)


def _from_rows(flat: np.ndarray, shape: tuple[int, ...], axis: int | None, block: int) -> np.ndarray:
    if not block or axis is None:
        return flat.reshape(shape)
    moved = [n for i, n in enumerate(shape) if i != axis % len(shape)] + [shape[axis]]
    return np.moveaxis(flat.reshape(moved), -1, axis)


def expanded(scales: np.ndarray, shape: tuple[int, ...], axis: int | None, block: int = 0) -> np.ndarray:
    """`scales` in a form that broadcasts against a weight of `shape`."""
    if block:
        assert axis is not None
        return np.repeat(scales, block, axis=axis).take(np.arange(shape[axis]), axis=axis)
    sizes = [1] * len(shape)
    if axis is not None and scales.ndim:
        sizes[axis] = -1
    return scales.reshape(sizes)


def quantized_weight(
    weight: np.ndarray, scales: np.ndarray, axis: int | None, *, kind: WeightKind = INT8, block: int = 0
) -> np.ndarray:
    """The weight as numbers of `kind`, rounded to nearest; a part at a time, so that little more than it is held."""
    if not weight.ndim:
        return kind.nearest(weight.astype(np.float32) / scales.astype(np.float32))
    steps = expanded(scales.astype(np.float32), weight.shape, axis, block)
    result = np.empty(weight.shape, kind.dtype)
    rows = max(1, _BLOCK * len(weight) // max(1, weight.size))
    for start in range(0, len(weight), rows):
        part = slice(start, start + rows)
        divisor = steps[part] if len(steps) == len(weight) else steps
        result[part] = kind.nearest(weight[part].astype(np.float32) / divisor)
    return result


def relative_error(weight: np.ndarray, numbers: np.ndarray, scales: np.ndarray, axis: int | None) -> float:
    """|w - s q| / |w| in Frobenius norms: what rounding changes; 0 for a weight of zeros. A block at a time.

    Args:
        weight: The weight w.
        numbers: The integers q, of the same shape.
        scales: One scale s, or one for each index of `axis`.
        axis: Axis with one scale for each index; None for one scale.
    """
    shape = [1] * weight.ndim
    if axis is not None:
        shape[axis] = -1
    steps = scales.astype(np.float64).reshape(shape)
    block = max(1, _BLOCK * len(weight) // max(1, weight.size)) if weight.ndim else 1
    lost = total = 0.0
    for start in range(0, len(weight) if weight.ndim else 1, block):
        part = slice(start, start + block) if weight.ndim else ()
        wide = weight[part].astype(np.float64)
        lost += float(((wide - numbers[part] * (steps[part] if axis == 0 else steps)) ** 2).sum())
        total += float((wide**2).sum())
    return float(np.sqrt(lost / total)) if total else 0.0
