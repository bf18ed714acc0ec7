"""Rates as users write them: ``--ratio 0.5``, ``--layer NAME=0.3``."""

from __future__ import annotations

from onnxcompress.errors import UsageError


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
        hint = "Write NAME=0.3, re:REGEX=0.3 or op:Conv=0.3."
        raise UsageError(f"cannot read --layer {entry!r}", hint=hint, code="USAGE-PRUNE-LAYER")
    return pattern, value
