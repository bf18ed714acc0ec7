"""How much each tensor alone changes the outputs: enable-one, bounded by a count of evaluations.

With everything else float, one tensor is put on its grid and the squared relative error e_t of the outputs is taken.
These errors nearly add up (disable-one from the fully quantized model does not tell tensors apart: where one tensor
ruins the output, taking away any other changes nothing). Where there are more tensors than evaluations, groups of
neighbours are tried first and the worst group is halved until the count is used up; what a group that was not
resolved costs is shared among its members by the noise of each on its own grid.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence

Error = Callable[[Sequence[str]], float]


def rank(tensors: Sequence[str], error: Error, noise: Mapping[str, float], evaluations: int) -> dict[str, float]:
    """Squared relative error by tensor.

    Args:
        tensors: In the order of the graph.
        error: Squared relative error of the outputs with these tensors in integers.
        noise: Own noise of each tensor over its energy.
        evaluations: Most calls of `error`.
    """
    if len(tensors) <= evaluations:
        return {name: error([name]) for name in tensors}
    found: dict[str, float] = {}
    heap: list[tuple[float, int, list[str]]] = []
    count = 0
    for group in _parts(list(tensors), max(1, evaluations // 3)):
        heapq.heappush(heap, (-error(group), count, group))
        count += 1
    left = evaluations - count
    while heap:
        cost, _, group = heapq.heappop(heap)
        if len(group) == 1 or left < 2:
            found |= _shared(-cost, group, noise)
            continue
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            heapq.heappush(heap, (-error(half), count, half))
            count, left = count + 1, left - 1
    return {name: found[name] for name in tensors}


def _parts(names: list[str], count: int) -> list[list[str]]:
    """`count` runs of neighbours of nearly equal length, none of them empty."""
    bounds = [len(names) * i // count for i in range(count + 1)]
    return [names[a:b] for a, b in itertools.pairwise(bounds) if b > a]


def _shared(cost: float, group: Sequence[str], noise: Mapping[str, float]) -> dict[str, float]:
    total = sum(noise[name] for name in group)
    return {name: cost * (noise[name] / total if total else 1 / len(group)) for name in group}
