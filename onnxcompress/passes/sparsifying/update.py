"""One layer with data: the second-order update where it helps, the diagonal form where memory is short."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxcompress.passes.reconstruction.linear import Linear
from onnxcompress.passes.reconstruction.solve import Normal
from onnxcompress.passes.sparsifying.moments import Moments, Walk
from onnxcompress.passes.sparsifying.n_m import NM
from onnxcompress.passes.sparsifying.second_order import DAMPING, eliminate
from onnxcompress.passes.sparsifying.smallest import smallest

# Where rows are few the Gram says little of other samples, and a stronger pull to the weights that are there is tried.
_FEW_ROWS = 4
_STRONG = 0.3
# Matrices of columns x columns that are held at once, what LAPACK copies among them.
_SQUARES = 5


@dataclass(frozen=True)
class Updated:
    """What became of one layer.

    Attributes:
        form: ``second order``, ``diagonal`` or ``magnitude``.
        why: Why it is not second order.
        plain: Held-out error of the layer's output by magnitude alone, relative to the output's power; None unmeasured.
        error: The same of the weights that were stored.
    """

    form: str
    why: str = ""
    plain: float | None = None
    error: float | None = None


def update(linear: Linear, wanted: int | NM, walk: Walk, memory: int) -> Updated:
    """Prune the layer in place."""
    groups, columns, outputs = linear.matrix().shape
    if 8 * groups * columns * (_SQUARES * columns + 6 * outputs) > memory:
        return _diagonal(linear, wanted, walk)
    found = walk.moments(linear)
    if isinstance(found, str):
        return Updated("magnitude", found)
    if not found.train.gram.any():
        return Updated("magnitude", "its input was zero in every sample")
    return _best(linear, wanted, found)


def _best(linear: Linear, wanted: int | NM, found: Moments) -> Updated:
    """Of plain magnitude and the updates, what errs least on the rows that judge."""
    start, order, free = _arranged(linear)
    plain = start.copy()
    plain[:, :, :free][_mask(np.abs(start[:, :, :free]), wanted)] = 0.0
    train = found.train
    gram, cross = (train.gram, train.cross) if not linear.geometry else _permuted(train, order)
    few = train.rows < _FEW_ROWS * start.shape[2]
    tried = [
        _unarranged(eliminate(start, gram, cross, wanted, free, damping), order)
        for damping in ((DAMPING, _STRONG) if few else (DAMPING,))
    ]
    errors = [found.error(matrix) for matrix in (_unarranged(plain, order), *tried)]
    least = int(np.argmin(errors))
    if least == 0:
        return Updated("magnitude", "it errs least on samples that took no part", errors[0], errors[0])
    linear.store(tried[least - 1])
    return Updated("second order", "", errors[0], errors[least])


def _diagonal(linear: Linear, wanted: int | NM, walk: Walk) -> Updated:
    squares = walk.squares(linear)
    if isinstance(squares, str):
        return Updated("magnitude", squares)
    start, order, free = _arranged(linear)
    weight = start.copy()
    scores = np.square(start) * squares[:, None, order]
    weight[:, :, :free][_mask(scores[:, :, :free], wanted)] = 0.0
    linear.store(_unarranged(weight, order))
    return Updated("diagonal", f"its {len(order)} inputs exceed the memory ceiling")


def _arranged(linear: Linear) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights (g, r, c), input channels of one kernel position side by side; their order; how many may be pruned."""
    matrix = linear.matrix()
    columns = matrix.shape[1]
    free = columns - int(linear.takes_bias)
    window = int(np.prod(linear.geometry.kernel)) if linear.geometry else 1
    order = np.append(np.arange(free).reshape(-1, window).T.reshape(-1), np.arange(free, columns))
    return matrix.transpose(0, 2, 1)[:, :, order], order, free


def _permuted(normal: Normal, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gram matrix and cross moments in the order of the arranged columns."""
    return normal.gram[:, order[:, None], order], normal.cross[:, order]


def _mask(scores: np.ndarray, wanted: int | NM) -> np.ndarray:
    return smallest(scores, wanted) if isinstance(wanted, int) else wanted.mask(scores)


def _unarranged(weight: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The layer's matrix (g, c, r), its columns back in their own order."""
    back = np.empty_like(weight)
    back[:, :, order] = weight
    return back.transpose(0, 2, 1)
