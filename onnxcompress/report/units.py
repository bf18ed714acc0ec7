"""Numbers as a person reads them: 1.23 M, 4.5 MB, 0.62 ms, -50.1 %."""

from __future__ import annotations

from collections.abc import Mapping

LABELS: Mapping[str, str] = {
    "params": "parameters",
    "macs": "multiply-adds",
    "bytes": "bytes",
    "nodes": "nodes",
}
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float) -> str:
    """``1234567`` as ``1.23 M``; numbers below a thousand stay as they are."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {prefix}" if abs(value) < factor * 999.5 else f"{value / factor:.0f} {prefix}"
    return f"{value:.0f}"


def cost(key: str, value: float) -> str:
    """A cost by its key: bytes get their unit (decimal, as disks are sold), nodes stay whole."""
    if key == "bytes":
        return count(value) + ("B" if abs(value) >= 999.5 else " B")
    return f"{value:,.0f}" if key == "nodes" else count(value)


def percent(before: float, after: float) -> str:
    """The change in per cent of `before`, e.g. ``-50.1 %``; empty where it cannot be said."""
    if not before:
        return ""
    change = 100 * (after / before - 1)
    return "0 %" if abs(change) < 0.05 else f"{change:+.1f} %"


def times(before: float, after: float) -> str:
    """How many times smaller, e.g. ``3.9x``; empty where it cannot be said."""
    return f"{before / after:.2f}x" if before and after else ""


def change(key: str, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """``parameters 1.2 M -> 0.6 M``; empty where no change can be seen in these digits or the figure is absent."""
    if key not in before or key not in after:
        return ""
    was, now = cost(key, before[key]), cost(key, after[key])
    return "" if was == now else f"{LABELS[key]} {was} -> {now}"


def share(value: float) -> str:
    """A fraction as per cent, e.g. ``97.10 %``."""
    return f"{100 * value:.2f} %"


def percent_of(value: float) -> str:
    """A fraction as whole per cent, e.g. ``12 %``; what is more than nothing is not called 0."""
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def points(value: float) -> str:
    """A difference of two fractions in percentage points, e.g. ``-0.40 pt``."""
    return f"{100 * value:+.2f} pt"


def short(value: object) -> str:
    """Any scalar in few characters."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
