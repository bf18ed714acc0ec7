"""Light augmentation: other views of the samples, alike for teacher and student (Beyer et al. 2021, arXiv 2106.05237).

A view of a picture is shifted by up to a fourteenth of its sides, the gap filled by reflection, and its contrast and
level move a little; a view of a sequence is shifted in time. Nothing is mirrored: letters, organs and road signs
would become something else. Every draw comes from the seed, the step and the position in the batch alone, so a resumed
run and a run of several processes see the same views.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Sides shorter than this hold too little to be moved.
_LEAST = 16
_LEAST_TIME = 32
_SHIFT = 1 / 14
_LEVEL = 0.1
_COLOURS = (1, 3, 4)

Arrays = dict[str, np.ndarray]


class Light:
    """Views of batches of inputs.

    Args:
        seed: Seed of all draws.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def views(self, feeds: Mapping[str, np.ndarray], step: int, positions: np.ndarray, size: int) -> Arrays:
        """The same inputs, each row seen a little differently.

        Args:
            feeds: Inputs by name, rows first.
            step: Number of the training step.
            positions: Place of each row in the step's batch.
            size: Rows of that batch over all processes.
        """
        draws = np.random.Generator(np.random.PCG64([self._seed, step])).uniform(-1, 1, (size, 4))[positions]
        return {name: _view(array, draws) for name, array in feeds.items()}


def moving_axes(array: np.ndarray) -> tuple[int, ...]:
    """Axes along which a batch of samples may be shifted; empty where it is neither pictures nor sequences."""
    if array.dtype.kind != "f" or array.ndim not in (3, 4):
        return ()
    if array.ndim == 3:
        return (2,) if array.shape[2] >= _LEAST_TIME and array.shape[1] <= array.shape[2] // 4 else ()
    for axes, channel in (((2, 3), 1), ((1, 2), 3)):
        if array.shape[channel] in _COLOURS and min(array.shape[a] for a in axes) >= _LEAST:
            return axes
    return ()


def _view(array: np.ndarray, draws: np.ndarray) -> np.ndarray:
    axes = moving_axes(array)
    if not axes or len(array) != len(draws):
        return array
    moved = array
    for i, axis in enumerate(axes):
        moved = _shifted(moved, axis, np.rint(draws[:, i] * array.shape[axis] * _SHIFT).astype(np.int64))
    shape = (-1, *(1 for _ in array.shape[1:]))
    spread = array.std(axis=tuple(range(1, array.ndim)), keepdims=True)
    made = moved * (1 + _LEVEL * draws[:, 2].reshape(shape)) + _LEVEL * draws[:, 3].reshape(shape) * spread
    return made.astype(array.dtype)


def _shifted(array: np.ndarray, axis: int, by: np.ndarray) -> np.ndarray:
    """Each row moved by its own distance along `axis`, the gap filled by reflection."""
    size = array.shape[axis]
    at = np.abs(np.arange(size)[None, :] - by[:, None])
    at = np.where(at >= size, 2 * (size - 1) - at, at)
    shape = [1] * array.ndim
    shape[0], shape[axis] = len(array), size
    return np.take_along_axis(array, at.reshape(shape), axis)
