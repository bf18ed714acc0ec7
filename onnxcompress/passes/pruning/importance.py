"""Importance by the score that the user named; where it has nothing to say, by l2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from onnxcompress.graph import label
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
