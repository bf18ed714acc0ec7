"""Importance by the score that the user named; where it has nothing to say, by l2.

Inside a cell the score alone tells the order. Between cells a channel counts for as much of each weight as it takes:

    importance(c) = score(c) * sum over the axes of linear weights of (positions of c on it) / (its length)

so that half of a wide layer is worth half of a narrow one, and a channel of a residual stream, which goes from twenty
weights at once, as much as it takes from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.graph import label
from onnxcompress.passes.pruning.cells import Cell
from onnxcompress.passes.pruning.scores import load_score
from onnxcompress.passes.pruning.trace import Trace
from onnxcompress.report import Finding

if TYPE_CHECKING:
    from onnxcompress.passes.base import Context

FALLBACK = "l2"


def importance(found: Trace, score: str, ctx: Context) -> tuple[np.ndarray, list[Finding]]:
    """One number an atom (its class's), finite and at least 0, and what was scored in another way than asked.

    Args:
        found: The trace.
        score: One of `onnxcompress.passes.pruning.scores.NAMES`.
        ctx: Seed, and samples for those that need them.
    """
    values = load_score(score)(found, ctx)
    if not np.isnan(values).any():
        return values, []
    other = load_score(FALLBACK)(found, ctx)
    findings: list[Finding] = []
    unknown = np.isnan(values)
    frozen = found.atoms.frozen()
    for producer in found.producers:
        roots = found.atoms.roots(producer.ids)
        # A layer is scored by one rule: numbers of two rules do not compare.
        if unknown[roots].any():
            unknown[roots] = True
            if not frozen[roots].all():
                text = f"scored by {FALLBACK}: {score} knows nothing of its channels"
                findings.append(Finding("PRUNE-SCORE-FALLBACK", text, label(producer.node)))
    values = np.where(unknown, other, values)
    return values[found.atoms.roots(np.arange(len(values)))], findings


def weighed(found: Trace, cells: Sequence[Cell], scores: np.ndarray) -> list[Cell]:
    """`cells` with importances that compare between cells."""
    shares = np.zeros(len(found.atoms))
    for use in found.uses:
        if use.linear:
            for ids in use.lists():
                np.add.at(shares, found.atoms.roots(ids), 1.0 / len(ids))
    return [_weighed(cell, scores * shares) for cell in cells]


def _weighed(cell: Cell, values: np.ndarray) -> Cell:
    """Each class counts once in its column; a cell that no weight tells of keeps what it has."""
    classes = np.sort(cell.order, axis=0)
    again = np.concatenate([np.zeros((1, classes.shape[1]), bool), classes[1:] == classes[:-1]])
    importance = np.where(again, 0.0, values[classes]).sum(axis=0)
    return replace(cell, importance=importance) if importance.any() else cell
