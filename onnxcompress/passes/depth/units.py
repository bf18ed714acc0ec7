"""What goes at once: single branches, or whole blocks of the architecture (attention and MLP of one layer).

Blocks are found by repetition: with s_1, s_2, ... the signatures of the branches along the model, a block is the
shortest period p > 1 with s_i = s_{i+p} over at least two periods; where p = 1 a branch is a block.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxcompress.passes.depth.branches import Branch

LONGEST = 4
"""Branches that a block may have: self-attention, cross-attention, MLP, and one to spare."""

Unit = tuple[Branch, ...]


def units(found: Sequence[Branch], kind: str) -> list[Unit]:
    """Branches grouped by what goes at once, in topological order.

    Args:
        found: Branches in topological order.
        kind: ``branch`` or ``block``.
    """
    if kind == "branch":
        return [(branch,) for branch in found]
    signatures = [branch.signature for branch in found]
    result: list[Unit] = []
    at = 0
    while at < len(found):
        period, count = _repetition(signatures[at:])
        end = at + period * count
        result.extend(tuple(found[start : start + period]) for start in range(at, end, period))
        at = end
    return result


def _repetition(signatures: Sequence[tuple[str, ...]]) -> tuple[int, int]:
    """Length of the shortest period at the start, and how often it stands there; (1, 1) where nothing repeats."""
    for period in range(1, LONGEST + 1):
        first, count = list(signatures[:period]), 1
        while list(signatures[count * period : (count + 1) * period]) == first:
            count += 1
        if count > 1:
            return period, count
    return 1, 1
