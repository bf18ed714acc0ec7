"""The user's metric of two models: one number or several by name, with the interval of what changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxcompress.errors import DataError
from onnxcompress.verify import intervals

Arrays = dict[str, np.ndarray]


def user_metric(metric: Callable[..., Any], first: Arrays, second: Arrays, labels: np.ndarray | None) -> dict[str, Any]:
    """Figures of a `Comparison`: the metric, of several the one that lost most, and its interval.

    Args:
        metric: ``f(outputs, labels)`` gives a number, or numbers by name; higher is better.
        first: The reference's outputs, stacked over all samples.
        second: The candidate's.
        labels: One a sample.

    Raises:
        DataError: Without labels, and where the metric gives no finite number or other names for the second.
    """
    if labels is None:
        hint = "Put labels into the data (a second array, or --labels)."
        why = "the data holds no labels"
        raise DataError("cannot evaluate the metric", why=why, hint=hint, code="DATA-NO-LABELS")
    before, after = (_by_name(metric(outputs, labels)) for outputs in (first, second))
    _check(before, after)
    name = max(before, key=lambda key: before[key] - after[key])
    change = after[name] - before[name]

    def difference(rows: np.ndarray) -> float:
        parts = [{n: a[rows] if len(a) == len(labels) else a for n, a in outs.items()} for outs in (first, second)]
        return _by_name(metric(parts[1], labels[rows]))[name] - _by_name(metric(parts[0], labels[rows]))[name]

    figures = {"metric_reference": before[name], "metric_candidate": after[name], "metric_name": name}
    several = {key: (before[key], after[key]) for key in before} if name else {}
    return {**figures, "metrics": several, "metric_interval": _interval(metric, difference, labels, change)}


def _by_name(value: Any) -> dict[str, float]:
    """Numbers by name; a single one has none."""
    return {str(k): float(v) for k, v in value.items()} if isinstance(value, Mapping) else {"": float(value)}


def _check(before: Mapping[str, float], after: Mapping[str, float]) -> None:
    same = before and before.keys() == after.keys()
    if same and all(math.isfinite(score) for score in (*before.values(), *after.values())):
        return
    why = f"it returned {_said(before)} and {_said(after)}"
    hint = "Return one finite number, or a dict with the same names each time; higher is better."
    raise DataError("cannot use the metric", why=why, hint=hint, code="DATA-METRIC")


def _said(scores: Mapping[str, float]) -> object:
    return scores.get("", dict(scores))


def _interval(
    metric: Callable[..., Any], difference: Callable[[np.ndarray], float], labels: np.ndarray, change: float
) -> intervals.Interval | None:
    """The jackknife's; where nothing changed in any group that has no width, and what is counted gives it one."""
    found = intervals.jackknife(difference, len(labels), change)
    counted = getattr(metric, "counted", None)
    number = None if counted is None else counted(labels)
    if found is None or found[0] < found[1] or change or not number:
        return found
    return intervals.paired_difference(0, 0, int(number))
