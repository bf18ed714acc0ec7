"""The order of passes: what may not come after what, and which of them share a transaction."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Effect, Pass


def check_order(passes: Sequence[Pass]) -> None:
    """Refuse an order that a pass declares impossible.

    Raises:
        UsageError: Naming the two passes.
    """
    seen: set[str] = set()
    for pass_ in passes:
        clash = next((name for name in pass_.not_after if name in seen), None)
        if clash:
            raise UsageError(
                f"{pass_.name} cannot run after {clash}",
                why="it would undo or miss what that pass did",
                hint=f"Move {pass_.name} before {clash} in the recipe.",
                code="USAGE-PASS-ORDER",
            )
        seen.add(pass_.name)


def transactions(passes: Sequence[Pass]) -> Iterator[tuple[Pass, ...]]:
    """The passes in groups that are verified together: consecutive exact ones, and each lossy one by itself."""
    for exact, group in itertools.groupby(passes, key=lambda p: p.effect is not Effect.LOSSY):
        if exact:
            yield tuple(group)
        else:
            yield from ((p,) for p in group)
