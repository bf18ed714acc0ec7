"""Another range rule for the tensors that cost most, chosen by what the outputs lose.

A rule judges a tensor by itself; which of its values the network needs, only the outputs tell. For each of the worst
tensors every rule's range is tried alone, and the one with the least squared relative error of the outputs stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxcompress.passes.quantization.scales import Grid

_WORTH = 0.02  # share of the summed error below which a tensor is not looked at
_BETTER = 0.8  # a rule replaces the usual one only where it leaves less than this of the error: samples are few

Trial = Callable[[str, Grid], float]


def choose(
    errors: Mapping[str, float],
    offers: Mapping[str, Mapping[str, Grid]],
    trial: Trial,
    evaluations: int,
) -> dict[str, tuple[str, float]]:
    """The rule and the error of each tensor for which another rule than the usual one is better.

    Args:
        errors: Squared relative error of each tensor alone, under the usual rule.
        offers: Other grids by rule and tensor.
        trial: Error with one tensor on a grid.
        evaluations: Most calls of `trial`.
    """
    found: dict[str, tuple[str, float]] = {}
    left, total = evaluations, sum(errors.values())
    for name in _worst(errors):
        rules = [rule for rule in offers if name in offers[rule]]
        if left < len(rules) or errors[name] < _WORTH * total:
            break
        left -= len(rules)
        tried = {rule: trial(name, offers[rule][name]) for rule in rules}
        best = min(tried, key=lambda rule: (tried[rule], rule), default="")
        if best and tried[best] < _BETTER * errors[name]:
            found[name] = (best, tried[best])
    return found


def _worst(errors: Mapping[str, float]) -> Sequence[str]:
    return sorted(errors, key=lambda name: (-errors[name], name))
