"""Learning rates: one cycle (Smith and Topin 2018, arXiv 1708.07120) with linear warm-up and cosine decay."""

from __future__ import annotations

import math

WARM_UP = 0.1
FLOOR = 0.01


def one_cycle(step: int, steps: int) -> float:
    """Factor on the peak rate at `step` of `steps`: up over the first tenth, then down to a hundredth."""
    warm = max(1, round(steps * WARM_UP))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def default_rate(*, quantized: bool, sensitive: bool, hints: bool) -> float:
    """AdamW peak rate by kind of student and loss; transformers and recurrent nets are sensitive."""
    if quantized or sensitive:
        return 3e-4
    return 3e-3 if hints else 1e-3
