"""Mergeable statistics of tensors, and one small pure function for each rule that turns them into a range.

A rule is ``rule(histogram, *, levels, symmetric, ...) -> (low, high)`` with ``low <= 0 <= high``: the range that the
integer grid has to cover. Rules and `collect` load on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxcompress.errors import UsageError

if TYPE_CHECKING:
    from onnxcompress.calibrators.float_histogram import FloatHistogram
    from onnxcompress.calibrators.store import Statistics
    from onnxcompress.calibrators.streaming import collect

Calibrator = Callable[..., tuple[float, float]]

CALIBRATORS = ("uniform", "histogram", "kl", "mse", "truncate")
"""Names of the range rules: each is the function of that name in the module of that name."""

__all__ = ["CALIBRATORS", "Calibrator", "FloatHistogram", "Statistics", "calibrator", "collect"]


def calibrator(name: str) -> Calibrator:
    """The range rule called `name`.

    Raises:
        UsageError: Where there is none of that name.
    """
    if name not in CALIBRATORS:
        raise UsageError(
            f"unknown calibrator {name!r}",
            hint=f"Use one of: {', '.join(CALIBRATORS)}.",
            code="USAGE-UNKNOWN-CALIBRATOR",
        )
    return getattr(import_module(f"onnxcompress.calibrators.{name}"), name)


def __getattr__(name: str) -> Any:
    places = {"FloatHistogram": "float_histogram", "Statistics": "store", "collect": "streaming"}
    if name not in places:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{places[name]}"), name)
