"""The rows of a linear node's least-squares problem: its input as a patch matrix.

A convolution is a matrix product of patches: output position p of sample n reads the kernel window at p from each of
the C/g input channels of its group. `conv_patches` returns those windows for chosen positions only, group by group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ConvGeometry:
    """Attributes of a convolution, one entry a spatial axis.

    Attributes:
        kernel: Kernel sizes.
        strides: Strides.
        dilations: Dilations.
        pads: Begin and end padding, ``[b1, b2, ..., e1, e2, ...]``.
        group: Number of groups.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int


def conv_patches(x: np.ndarray, geometry: ConvGeometry, positions: np.ndarray) -> np.ndarray:
    """Kernel windows of `x` at flat output `positions`.

    Args:
        x: Input, shape (N, C, *spatial).
        geometry: The convolution.
        positions: Flat indices into (N, *output spatial), shape (rows,).

    Returns:
        Array of shape (group, rows, C / group * prod(kernel)), in the order of the weight's own layout.
    """
    windows = _windows(x, geometry)
    axes = len(geometry.kernel)
    out_shape = (windows.shape[0], *windows.shape[2 : 2 + axes])
    index = np.unravel_index(positions, out_shape)
    # Advanced indices on axes 0 and 2.. with the channel slice between them put rows first: (rows, C, *kernel).
    picked = windows[(index[0], slice(None), *index[1:])]
    rows, channels = picked.shape[:2]
    grouped = picked.reshape(rows, geometry.group, channels // geometry.group, -1)
    return grouped.transpose(1, 0, 2, 3).reshape(geometry.group, rows, -1)


def rows_at(y: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of a channel-first tensor (N, O, *spatial) at flat positions of (N, *spatial): shape (rows, O)."""
    index = np.unravel_index(positions, (y.shape[0], *y.shape[2:]))
    return y[(index[0], slice(None), *index[1:])]


def choose(total: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """At most `wanted` of `total` row indices, sorted, without repetition."""
    if total <= wanted:
        return np.arange(total)
    return np.sort(generator.choice(total, size=wanted, replace=False))


def _windows(x: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """A view of shape (N, C, *output spatial, *kernel)."""
    axes = len(geometry.kernel)
    pads = [(0, 0), (0, 0), *zip(geometry.pads[:axes], geometry.pads[axes:], strict=True)]
    padded = np.pad(x, pads) if any(geometry.pads) else x
    spans = [(k - 1) * d + 1 for k, d in zip(geometry.kernel, geometry.dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(2, 2 + axes)))
    steps: Sequence[slice] = [slice(None, None, s) for s in geometry.strides]
    taps = [slice(None, None, d) for d in geometry.dilations]
    return view[(slice(None), slice(None), *steps, *taps)]
