"""Lengths of time as people write them: ``90``, ``90s``, ``3m``, ``1.5h``."""

from __future__ import annotations

import math
import re

from onnxcompress.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str, *, option: str) -> float:
    """Seconds.

    Args:
        text: A number with an optional unit.
        option: Name of the option, for the error.

    Raises:
        UsageError: Where it is no length of time above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", text.lower())
    seconds = float(found[1]) * _UNITS.get(found[2], math.nan) if found else math.nan
    if not seconds > 0 or not math.isfinite(seconds):
        hint = "Write a number above 0 with s, m or h: 90s, 3m, 1.5h."
        raise UsageError(f"{text!r} is no length of time", where=f"option {option}", hint=hint, code="USAGE-DURATION")
    return seconds
