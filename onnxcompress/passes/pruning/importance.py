"""Importance of a class of atoms: the mean, over the weights it has a slice in, of the slice's normalised norm.

For a weight W and an axis with atoms a: n(i) = |W[.., i, ..]|_p, divided by its mean over the axis; a class takes the
mean over all its positions in all weights of linear ops. Data-free; published comparisons put L1 and L2 within a point
of the best criterion (docs/results).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.trace import Trace, Use, array


def importance(found: Trace, score: str) -> np.ndarray:
    """One number an atom (its class's): about 1 for an average channel, 0 where no weight is known.

    Args:
        found: The trace.
        score: ``l1`` or ``l2``.
    """
    total, count = np.zeros(len(found.atoms)), np.zeros(len(found.atoms))
    for use in found.uses:
        if use.linear:
            for ids, norms in _slices(use, score):
                roots = found.atoms.roots(ids)
                np.add.at(total, roots, norms / (norms.mean() or 1.0))
                np.add.at(count, roots, 1.0)
    mean = total / np.maximum(count, 1.0)
    return mean[found.atoms.roots(np.arange(len(found.atoms)))]


def _slices(use: Use, score: str) -> Iterator[tuple[Ids, np.ndarray]]:
    weights = array(use.value)
    if weights is None:
        return
    weights = np.abs(weights.astype(np.float64))
    power = weights if score == "l1" else weights**2
    finish = (lambda sums: sums) if score == "l1" else np.sqrt
    for axis, ids in enumerate(use.labels):
        if ids is not None:
            yield ids, finish(power.sum(axis=tuple(a for a in range(power.ndim) if a != axis)))
    inputs, groups = use.grouped or (None, 1)
    if inputs is not None:
        blocks = power.reshape(groups, power.shape[0] // groups, power.shape[1], -1)
        yield inputs, finish(blocks.sum(axis=(1, 3)).ravel())
