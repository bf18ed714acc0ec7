"""The user's metric of two models: one number or several by name, with the interval of what changed."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxcompress.data import DataSource, count_of, scores_by_name
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
        raise _no_labels()
    before, after = (scores_by_name(metric(_copies(outputs), labels.copy())) for outputs in (first, second))
    _check(before, after)
    name = max(before, key=lambda key: before[key] - after[key])
    change = after[name] - before[name]

    def difference(rows: np.ndarray) -> float:
        parts = [{n: a[rows] if len(a) == len(labels) else a for n, a in outs.items()} for outs in (first, second)]
        try:
            scores = [scores_by_name(metric(part, labels[rows])) for part in parts]
            return scores[1][name] - scores[0][name]
        except (DataError, ValueError, LookupError, ArithmeticError):  # such as no sample of a class in this group
            return math.nan

    figures = {"metric_reference": before[name], "metric_candidate": after[name], "metric_name": name}
    several = {key: (before[key], after[key]) for key in before} if name else {}
    return {**figures, "metrics": several, "metric_interval": _interval(metric, difference, labels, change)}


def check_labels(source: DataSource | None, metric: Callable[..., Any] | None) -> None:
    """Refuse, before any work, a metric on samples that have no labels.

    Args:
        source: The samples that will measure.
        metric: The user's own, if it will be used.

    Raises:
        DataError: Where there are samples and a metric, and no labels.
    """
    if metric is not None and source is not None and len(source) and source.labels(np.arange(1)) is None:
        raise _no_labels()


def _no_labels() -> DataError:
    hint = "Put labels into the data (a second array, or --labels)."
    why = "the data holds no labels"
    return DataError("cannot evaluate the metric", why=why, hint=hint, code="DATA-NO-LABELS")


def _copies(outputs: Arrays) -> Arrays:
    """A metric may write into what it is given; the interval needs it as it was."""
    return {name: array.copy() for name, array in outputs.items()}


def _check(before: Mapping[str, float], after: Mapping[str, float]) -> None:
    if before.keys() == after.keys():
        return
    sides = (reprlib.repr([one for one in a if one not in b]) for a, b in ((before, after), (after, before)))
    why = "it gave {} for the first model alone and {} for the second alone".format(*sides)
    hint = "Return one finite number, or a dict with the same names each time; higher is better."
    raise DataError("cannot use the metric", why=why, hint=hint, code="DATA-METRIC")


def _interval(
    metric: Callable[..., Any], difference: Callable[[np.ndarray], float], labels: np.ndarray, change: float
) -> intervals.Interval | None:
    """The jackknife's; where nothing changed in any group that has no width, and what is counted gives it one."""
    found = intervals.jackknife(difference, len(labels), change)
    number = count_of(metric, labels)
    if found is None or found[0] < found[1] or change or not number:
        return found
    return intervals.paired_difference(0, 0, number)
