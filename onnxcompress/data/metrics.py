"""A user's own metric: `file.py:function`, one number or several by name, and how many samples it divides by."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcompress.data.scripts import load_function, told
from onnxcompress.errors import DataError

MAX_NAME = 60  # characters: a name stands in a table of 80 columns
_HINT = "It must return one finite number, or a dict of them, for (outputs by name, labels); higher is better."
_COUNTED = "`counted` must be a function of the labels that gives how many samples the metric divides by."


@dataclass(frozen=True)
class ScriptMetric:
    """A user's metric ``function(outputs: dict, labels) -> float``, or numbers by name; higher is better.

    Attributes:
        spec: ``file.py:function``, as the user wrote it.
        function: What it names. Its own attribute ``counted``, where there is one, is a function of the labels: how
            many samples the metric divides by, such as the positives of a sensitivity.
    """

    spec: str
    function: Callable[..., Any]

    def __call__(self, outputs: Mapping[str, np.ndarray], labels: np.ndarray) -> float | dict[str, float]:
        """The metric: a number, or a dict of several by name.

        Raises:
            DataError: Where it raises or gives no finite number.
        """
        try:
            value = self.function(dict(outputs), labels)
        except (Exception, SystemExit) as error:
            why = f"{told(error)} (the outputs are {reprlib.repr(list(outputs))})"
            raise _failed(self.spec, why) from error
        found = scores_by_name(value, self.spec)
        return found if isinstance(value, Mapping) else found[""]

    def counted(self, labels: np.ndarray) -> int | None:
        """How many samples the metric divides by; None where it does not say.

        Raises:
            DataError: Where the user's own ``counted`` raises or gives no number.
        """
        return count_of(self.function, labels, self.spec)


def load_metric(spec: str) -> ScriptMetric:
    """A user's metric ``file.py:function(outputs: dict, labels) -> float``; higher is better.

    Args:
        spec: ``file.py:function``. `outputs` are all samples' outputs by name, `labels` what the data calls labels.

    Raises:
        UsageError: Where there is no such function.
    """
    return ScriptMetric(spec, load_function(spec))


def scores_by_name(value: Any, where: str = "") -> dict[str, float]:
    """What a metric returned, as finite numbers by name; a single one has the name "".

    Args:
        value: A number, or a mapping of names to numbers.
        where: The metric, as the user wrote it.

    Raises:
        DataError: For anything else, with what it was.
    """
    if not isinstance(value, Mapping):
        return {"": _number(value, "", where)}
    names = [str(key) for key in value]
    unfit = [name for name in names if not (name.isprintable() and 0 < len(name) <= MAX_NAME)]
    if unfit or len(set(names)) < len(names) or not names:
        what = f"the name {reprlib.repr(unfit[0])}" if unfit else "one name twice" if names else "no number"
        raise _failed(where, f"it gave {what}", f"Give each number a name of at most {MAX_NAME} printable characters.")
    return {name: _number(one, f" for {name!r}", where) for name, one in zip(names, value.values(), strict=True)}


def count_of(metric: Callable[..., Any], labels: np.ndarray, where: str = "") -> int | None:
    """How many samples a metric says that it divides by; None where it does not.

    Args:
        metric: Its attribute ``counted``, where there is one, is a function of the labels.
        labels: One a sample.
        where: The metric, as the user wrote it.

    Raises:
        DataError: Where ``counted`` raises or gives no number of 0 or more.
    """
    count = getattr(metric, "counted", None)
    if count is None:
        return None
    try:
        given = count(labels)
        number = None if given is None else int(given)
    except (Exception, SystemExit) as error:
        raise _failed(where, f"its `counted`: {told(error)}", _COUNTED) from error
    if number is not None and number < 0:
        raise _failed(where, f"its `counted` gave {number}", _COUNTED)
    return number


def _number(value: Any, which: str, where: str) -> float:
    """One finite number; text that reads like one is none."""
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch's tensors of several: RuntimeError
        raise _failed(where, f"it gave {_kind(value)}{which}, and no number: {told(error)}") from error
    if not math.isfinite(number):
        raise _failed(where, f"it gave {reprlib.repr(value)}{which}")
    return number


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", ())
    return f"{type(value).__name__}{f' of shape {tuple(shape)}' if shape else ''}"


def _failed(spec: str, why: str, hint: str = _HINT) -> DataError:
    return DataError("the metric failed", where=spec, why=why, hint=hint, code="DATA-METRIC")
