"""From weights to groups: a class's score is the mean, over the weights it has a slice in, of normalised slice scores.

For a weight W and one of its axes with atoms a, a rule gives s(i) for each slice W[.., i, ..]. A class c takes

    score(c) = mean over all (W, axis, i) with i in c of  s(i) / mean_j s(j)

The mean over members is that of Fang et al., "DepGraph" (CVPR 2023, arXiv:2301.12900, eq. 4, there a sum): a channel
goes from all of its weights at once, so all have a say. Each weight is divided by its own mean first, because scales
differ between layers for reasons that say nothing of importance (a BatchNormalization behind it, its fan-in), and the
largest would outvote the rest. A mean, not a sum, so that a group of many layers does not look important by its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from onnxcompress.passes.pruning.atoms import Ids
from onnxcompress.passes.pruning.quantized import real
from onnxcompress.passes.pruning.trace import Trace, Use, array

Rule = Callable[[np.ndarray], np.ndarray]
"""`rows [channels, weights of one channel]`, float64 -> one score a row."""


def by_group(found: Trace, rule: Rule) -> np.ndarray:
    """The mean of normalised scores for every atom's class; 1 where no weight of a linear op is known.

    Args:
        found: The trace.
        rule: Scores the slices of one weight along one axis. Axes of which nothing may go are not asked for.
    """
    total, count = np.zeros(len(found.atoms)), np.zeros(len(found.atoms))
    frozen = found.atoms.frozen()
    for use in found.uses:
        if use.linear:
            for ids, rows in _slices(use, frozen):
                scores = rule(rows)
                roots = found.atoms.roots(ids)
                np.add.at(total, roots, scores / (scores.mean() or 1.0))
                np.add.at(count, roots, 1.0)
    mean = np.where(count > 0, total / np.maximum(count, 1.0), 1.0)
    return mean[found.atoms.roots(np.arange(len(found.atoms)))]


def _slices(use: Use, frozen: np.ndarray) -> Iterator[tuple[Ids, np.ndarray]]:
    """The atoms of each axis, with its slices as rows."""
    weights = array(use.value)
    if weights is None or all(frozen[ids].all() for ids in use.lists()):
        return
    wide = real(use, weights)
    for axis, ids in enumerate(use.labels):
        if ids is not None and not frozen[ids].all():
            yield ids, np.moveaxis(wide, axis, 0).reshape(len(ids), -1)
    for axis, ids in use.blocks.items():
        if not frozen[ids].all():
            blocks = wide.reshape(len(ids) // wide.shape[axis], -1, *wide.shape[1:])
            yield ids, np.moveaxis(blocks, axis + 1, 1).reshape(len(ids), -1)
