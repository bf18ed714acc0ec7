"""When training ends, and its learning rates: one cycle (Smith and Topin 2018, arXiv 1708.07120)."""

from __future__ import annotations

import math
from dataclasses import dataclass

SENSITIVE = frozenset({"LayerNormalization", "LSTM", "GRU", "RNN"})
"""Operators of networks that want a smaller rate."""

WARM_UP = 0.1
FLOOR = 0.01


@dataclass(frozen=True)
class Pace:
    """How long training goes on: so many steps or so many seconds, whichever is over first.

    Attributes:
        steps: Most steps; None where time alone decides.
        seconds: Most seconds; None where steps alone decide.
    """

    steps: int | None = None
    seconds: float | None = None

    def done(self, steps: float, seconds: float) -> float:
        """The part of the run that is over after so many steps and seconds, from 0 to 1."""
        by_steps = steps / self.steps if self.steps else 0.0
        by_clock = seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_clock))

    def total(self, steps: int, seconds: float) -> int:
        """How many steps the run will have, from the pace so far."""
        done = self.done(steps, seconds)
        return self.steps or 0 if not done else max(steps, round(steps / done))


def one_cycle(done: float) -> float:
    """Factor on the peak rate when `done` of the run is over: up over the first tenth, then a cosine to a hundredth."""
    if done < WARM_UP:
        return max(done / WARM_UP, FLOOR)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def default_rate(*, quantized: bool, sensitive: bool, hints: bool) -> float:
    """AdamW peak rate by kind of student and loss; transformers and recurrent nets are sensitive."""
    if quantized or sensitive:
        return 3e-4
    return 3e-3 if hints else 1e-3
