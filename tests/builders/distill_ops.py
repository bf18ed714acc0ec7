"""The table of `OpCase` that the torch ops are held to, by family."""

from __future__ import annotations

from builders.op_cases import OpCase
from builders.op_families import attention, plain, quantized, runtime, sampling, selection

CASES: dict[str, OpCase] = {}
REFUSED: dict[str, tuple[OpCase, str]] = {}
for _family in (attention, plain, quantized, runtime, sampling, selection):
    CASES.update(_family.CASES)
    REFUSED.update(_family.REFUSED)
