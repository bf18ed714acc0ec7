"""The level of the measured budget at which the whole pruned model takes the time asked for.

The sum of the layers' times is not the model's time: kernels fuse, caches and threads are shared. So the model is cut
at a level x of the budget, timed as a whole against the original, and x is corrected by the secant through what was
measured, until the time is within the tolerance of the target: the larger of 5 % and the spread between two equal
sessions. Of all cuts that were timed, the nearest to the target is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from onnxcompress.runtime import latency
from onnxcompress.runtime_options import RuntimeOptions

TRIES = 7
"""Cuts that are timed at most."""

LEAST = 0.02
"""Lowest level of the budget that is asked for."""


@dataclass(frozen=True)
class Timing:
    """One cut, timed.

    Attributes:
        level: Fraction of the layers' time that was allowed.
        ratio: The pruned model's time over the original's, paired.
        ms: Its median milliseconds.
        original_ms: The original's.
        spread: Relative difference between two sessions of the original.
    """

    level: float
    ratio: float
    ms: float
    original_ms: float
    spread: float


class Timer:
    """Times pruned models beside the original.

    Args:
        original: The model before the cut.
        feeds: Inputs of one run.
        options: Providers and threads.
        rounds: Paired rounds.
    """

    def __init__(
        self, original: ir.Model, feeds: Mapping[str, np.ndarray], options: RuntimeOptions, rounds: int = 15
    ) -> None:
        self._original, self._feeds, self._options, self._rounds = original, feeds, options, rounds

    def of(self, candidate: ir.Model, level: float) -> Timing:
        """Both models, interleaved."""
        models = {"original": self._original, "pruned": candidate}
        found = latency(models, self._feeds, options=self._options, rounds=self._rounds)
        ratio = 1.0 / found.ratio["pruned"]
        return Timing(level, ratio, found.ms["pruned"], found.ms["original"], found.spread)


def search(goal: float, low: float, timed: Callable[[float], Timing]) -> list[Timing]:
    """Everything that was timed, the nearest to the goal first.

    Args:
        goal: The ratio of times to reach, in (0, 1).
        low: The lowest level that the budget can reach.
        timed: Cuts at a level and times the result.
    """
    tried: list[Timing] = []
    level = max(goal, low, LEAST)
    for _ in range(TRIES):
        tried.append(timed(level))
        tried.sort(key=lambda each: abs(each.ratio - goal))
        best = tried[0]
        if abs(best.ratio - goal) <= tolerance(best, goal) / 2:
            break
        following = float(np.clip(_next(goal, tried), max(low, LEAST), 1.0))
        if any(abs(following - each.level) < 2e-3 for each in tried):
            break
        level = following
    return tried


def tolerance(timing: Timing, goal: float) -> float:
    """By how much the ratio may miss the goal."""
    return max(0.05, timing.spread) * goal


def _next(goal: float, tried: list[Timing]) -> float:
    """The secant through the nearest timing on either side of the goal, or through (1, 1) where one side is empty."""
    above = min((t for t in tried if t.ratio > goal), key=lambda t: t.ratio, default=None)
    below = max((t for t in tried if t.ratio <= goal), key=lambda t: t.ratio, default=None)
    high = (1.0, 1.0) if above is None else (above.level, above.ratio)
    low = (0.0, 0.0) if below is None else (below.level, below.ratio)
    if high[1] - low[1] < 1e-9:
        return (high[0] + low[0]) / 2
    return low[0] + (goal - low[1]) * (high[0] - low[0]) / (high[1] - low[1])
