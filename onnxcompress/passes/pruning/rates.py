"""Amounts as users write them: a ratio 0.5, a layer NAME=0.3, a target 0.5x or 2M, a floor 8 or 10%."""

from __future__ import annotations

import math
from collections.abc import Mapping

from onnxcompress.errors import UsageError
from onnxcompress.passes.pruning.steps import Floor


def check_rate(name: str, value: float) -> None:
    """Refuse a fraction that is not in [0, 1).

    Raises:
        UsageError: Naming the option `name`.
    """
    if not 0.0 <= value < 1.0:
        flag = f"--{name.replace('_', '-')}"
        hint = f"Write {flag} 0.5 to remove half."
        why = "it is the fraction to remove, from 0 to less than 1"
        raise UsageError(f"{flag} {value:g} is out of range", why=why, hint=hint, code="USAGE-PRUNE-RATIO")


def layer_rate(entry: str) -> tuple[str, float]:
    """Pattern and rate of one entry of a per-layer table.

    Raises:
        UsageError: Where the entry is not PATTERN=FRACTION.
    """
    pattern, sign, rate = entry.rpartition("=")
    try:
        value = float(rate)
    except ValueError:
        value = -1.0
    if not sign or not pattern or not 0.0 <= value < 1.0:
        why = "it takes a name and the fraction to remove there, from 0 to less than 1"
        hint = "Write NAME=0.3, re:REGEX=0.3 or op:Conv=0.3."
        raise UsageError(f"cannot read --layer {entry!r}", why=why, hint=hint, code="USAGE-PRUNE-LAYER")
    return pattern, value


def floor_of(text: str | int) -> Floor:
    """``8`` channels, or ``10%`` of a layer's.

    Raises:
        UsageError: Where it is neither, or less than one channel.
    """
    words = str(text).strip()
    try:
        if words.endswith("%"):
            share = float(words[:-1]) / 100
            if 0.0 <= share <= 1.0:
                return Floor(1, share)
        elif int(words) >= 1:
            return Floor(int(words))
    except ValueError:
        pass
    hint = "Write --min-channels 8 (channels, 1 or more) or --min-channels 10% (of each layer)."
    raise UsageError(f"cannot read --min-channels {words!r}", hint=hint, code="USAGE-PRUNE-COUNT")


def check_goal(name: str, text: str) -> None:
    """Refuse a target that cannot be read, whatever the model.

    Raises:
        UsageError: Naming the option `name`.
    """
    if name == "target_latency":
        latency_goal(text, 1.0)
    else:
        goal_of(text, 1.0, f"--{name.replace('_', '-')}")


def goal_of(text: str, whole: float, option: str) -> float:
    """``0.5x`` of the original, or an absolute number with k, M or G.

    Raises:
        UsageError: Where the text is neither, or no reduction.
    """
    units: Mapping[str, float] = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "x": whole}
    hint = f"Write {option} as 0.5x (of the original) or as an absolute figure such as 2M."
    unit = units.get(text[-1:], None)
    try:
        figure = float(text) if unit is None else float(text[:-1])
    except ValueError:
        figure = math.nan
    if math.isnan(figure):
        raise UsageError(f"cannot read {option} {text!r}", hint=hint, code="USAGE-TARGET")
    goal = figure * (1.0 if unit is None else unit)
    if not figure > 0:
        raise UsageError(f"{option} {text} leaves nothing", hint=hint, code="USAGE-TARGET")
    if text[-1:] == "x" and goal > whole:
        raise UsageError(f"{option} {text} is no reduction", hint=hint, code="USAGE-TARGET")
    return goal


def latency_goal(text: str, original_ms: float) -> float:
    """``0.6x`` of the original's time, or ``8ms``, as a ratio to the original's time.

    Raises:
        UsageError: Where the text is neither, or no reduction.
    """
    hint = "Write --target-latency 0.6x (of the original) or --target-latency 8ms."
    words = text.strip()
    absolute = words.endswith("ms")
    try:
        value = float(words[: -2 if absolute else -1]) if absolute or words.endswith("x") else math.nan
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise UsageError(f"cannot read --target-latency {text!r}", hint=hint, code="USAGE-TARGET")
    if not 0 < value < math.inf:
        raise UsageError(f"--target-latency {text} leaves nothing", hint=hint, code="USAGE-TARGET")
    if not absolute and value > 1:
        raise UsageError(f"--target-latency {text} is no reduction", hint=hint, code="USAGE-TARGET")
    return value / original_ms if absolute else value


def is_absolute(latency: str) -> bool:
    """Whether a time was asked for, not a fraction of one."""
    return latency.strip().endswith("ms")
