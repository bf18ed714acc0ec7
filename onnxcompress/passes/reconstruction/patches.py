"""The rows of a linear node's least-squares problem: its input as a patch matrix.

A convolution is a matrix product of patches. Output position p reads, at tap k of an axis with stride s, dilation d and
leading padding b, the input position

    i = p s + k d - b               (Conv)
    i = (p + b - k d) / s           (ConvTranspose, where that is a whole number)

and zero where i lies outside the input. `Geometry.patches` gathers those windows for chosen positions only, group by
group, in the order of the weight's own layout: channel by channel, and tap by tap within a channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Attributes of a convolution, one entry a spatial axis.

    Attributes:
        kernel: Kernel sizes.
        strides: Strides.
        dilations: Dilations.
        pads: Begin and end padding, ``[b1, b2, ..., e1, e2, ...]``; empty where it follows from the sizes.
        group: Number of groups.
        transposed: True for ConvTranspose.
        upper: Where `pads` is empty: the odd element of padding comes at the end (SAME_UPPER), else at the start.
        extra: ConvTranspose's ``output_padding``; zeros elsewhere.
        shape: ConvTranspose's ``output_shape``, spatial axes only; empty where it has none.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    group: int
    transposed: bool = False
    upper: bool = True
    extra: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()

    def sizes(self, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Spatial sizes of the output for those of the input."""
        if self.shape:
            return self.shape
        return tuple(self._size(axis, size) for axis, size in enumerate(inputs))

    def _size(self, axis: int, size: int) -> int:
        stride, span = self.strides[axis], (self.kernel[axis] - 1) * self.dilations[axis] + 1
        if not self.pads:
            return size * stride if self.transposed else -(-size // stride)
        pads = self.pads[axis] + self.pads[axis + len(self.kernel)]
        if self.transposed:
            return (size - 1) * stride + (self.extra or (0,) * len(self.kernel))[axis] + span - pads
        return (size + pads - span) // stride + 1

    def leading(self, inputs: tuple[int, ...]) -> list[int]:
        """Padding before the first element of each axis, for the spatial sizes of the input."""
        if self.pads:
            return list(self.pads[: len(self.kernel)])
        extra, outputs = self.extra or (0,) * len(self.kernel), self.sizes(inputs)
        found: list[int] = []
        for axis, (k, s, d) in enumerate(zip(self.kernel, self.strides, self.dilations, strict=True)):
            long, short = (outputs[axis], inputs[axis]) if self.transposed else (inputs[axis], outputs[axis])
            total = max((short - 1) * s + (k - 1) * d + 1 + extra[axis] - long, 0)
            found.append(total // 2 if self.upper else total - total // 2)
        return found

    def patches(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Kernel windows of `x` at flat output positions.

        Args:
            x: Input, shape (N, C, *spatial).
            positions: Flat indices into (N, *output spatial), shape (rows,).

        Returns:
            Array of shape (group, rows, C / group * prod(kernel)), in the order of the weight's own layout.
        """
        spatial = x.shape[2:]
        flat = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
        flat = np.concatenate([flat, np.zeros((1, x.shape[1]), x.dtype)])  # what lies outside reads the last row
        places = np.unravel_index(positions, (len(x), *self.sizes(spatial)))
        index = self._index(spatial, places, len(flat) - 1)
        picked = flat[index].reshape(len(positions), math.prod(self.kernel), self.group, -1)
        return picked.transpose(2, 0, 3, 1).reshape(self.group, len(positions), -1)

    def _index(self, spatial: tuple[int, ...], places: tuple[np.ndarray, ...], outside: int) -> np.ndarray:
        """Flat input position of every tap of every row, shape (rows, taps)."""
        rows = len(places[0])
        index, valid = places[0][:, None], np.ones((rows, 1), bool)
        for axis, lead in enumerate(self.leading(spatial)):
            at, inside = self._taps(places[axis + 1], axis, lead, spatial[axis])
            index = (index[:, :, None] * spatial[axis] + at[:, None, :]).reshape(rows, -1)
            valid = (valid[:, :, None] & inside[:, None, :]).reshape(rows, -1)
        return np.where(valid, index, outside)

    def _taps(self, place: np.ndarray, axis: int, lead: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Input position of each tap along one axis, shape (rows, taps), and which of them lie inside."""
        step = np.arange(self.kernel[axis]) * self.dilations[axis]
        if not self.transposed:
            at = place[:, None] * self.strides[axis] + step - lead
            return at, (at >= 0) & (at < size)
        wide = place[:, None] + lead - step
        at = wide // self.strides[axis]
        return at, (wide % self.strides[axis] == 0) & (at >= 0) & (at < size)


def rows_at(y: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of a channel-first tensor (N, O, *spatial) at flat positions of (N, *spatial): shape (rows, O)."""
    index = np.unravel_index(positions, (y.shape[0], *y.shape[2:]))
    return y[(index[0], slice(None), *index[1:])]


def choose(total: int, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """At most `wanted` of `total` row indices, sorted, without repetition."""
    if total <= wanted:
        return np.arange(total)
    return np.sort(generator.choice(total, size=wanted, replace=False))
