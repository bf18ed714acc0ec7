"""The user's metric: one number or several by name, each held to the gate, with an interval that is honest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from onnxcompress.errors import DataError, GateError
from onnxcompress.verify import Comparison, Gate
from onnxcompress.verify.intervals import paired_difference
from onnxcompress.verify.scores import user_metric

LABELS = np.array([1, 0] * 50)
RIGHT = {"y": LABELS.copy()}
WORSE = {"y": np.where(np.arange(100) < 6, 0, LABELS)}  # misses three of the fifty positives


def recall(outputs, labels):
    return float((outputs["y"][labels == 1] == 1).mean())


def both(outputs, labels):
    return {"accuracy": float((outputs["y"] == labels).mean()), "recall": recall(outputs, labels)}


recall.counted = lambda labels: (labels == 1).sum()


def compared(metric, second):
    return Comparison({}, 100, **user_metric(metric, RIGHT, second, LABELS))


def test_of_several_the_one_that_lost_most_is_told_and_all_are_kept():
    found = compared(both, WORSE)
    assert (found.metric_name, found.metric_reference, found.metric_candidate) == ("recall", 1.0, 0.94)
    assert found.metrics == {"accuracy": (1.0, 0.97), "recall": (1.0, 0.94)}
    low, high = found.metric_interval
    assert low < -0.06 < high
    told = found.to_dict()
    assert (told["metric_name"], told["metrics"]["accuracy"]) == ("recall", [1.0, 0.97])
    json.dumps(told, allow_nan=False)


def test_one_metric_has_no_name():
    found = compared(recall, WORSE)
    assert (found.metric_name, found.metrics) == ("", {})
    assert "metrics" not in found.to_dict()


@pytest.mark.parametrize(("limit", "held"), [("7pt", True), ("4pt", False), ("2pt", False)])
def test_a_gate_holds_each_of_several(limit, held):
    gate, found = Gate(max_drop=limit), compared(both, WORSE)
    if held:
        gate.check(found)
        return
    with pytest.raises(GateError, match=r"recall lost 6.00pt"):
        gate.check(found)


def test_a_relative_gate_looks_at_each_ones_own_score():
    small = Comparison({}, 100, metrics={"large": (0.9, 0.86), "small": (0.1, 0.08)}, metric_name="large")
    Gate(max_drop="25%").check(small)
    with pytest.raises(GateError, match=r"small lost 2.00pt"):
        Gate(max_drop="10%").check(small)


def test_where_nothing_changed_the_interval_has_the_width_of_what_is_counted():
    assert compared(recall, RIGHT).metric_interval == paired_difference(0, 0, 50)
    assert compared(lambda outputs, labels: recall(outputs, labels), RIGHT).metric_interval == (0.0, 0.0)
    low, high = compared(recall, WORSE).metric_interval
    assert low < -0.06 < high


@pytest.mark.parametrize("given", [{}, {"a": float("nan")}, float("inf")])
def test_a_metric_without_finite_numbers_is_refused(given):
    with pytest.raises(DataError, match="cannot use the metric"):
        user_metric(lambda outputs, labels: given, RIGHT, WORSE, LABELS)


def test_names_that_change_are_refused():
    answers = iter([{"a": 1.0}, {"b": 1.0}])
    with pytest.raises(DataError, match="the same names"):
        user_metric(lambda outputs, labels: next(answers), RIGHT, WORSE, LABELS)
