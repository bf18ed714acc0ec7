"""The user's metric: one number or several by name, each held to the gate, with an interval that is honest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders.runtime_models import linear, normal

from onnxcompress.data import ArraySource
from onnxcompress.errors import DataError, GateError
from onnxcompress.verify import Comparison, Gate, Goal
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
    with pytest.raises(DataError, match="the metric failed"):
        user_metric(lambda outputs, labels: given, RIGHT, WORSE, LABELS)


def test_names_that_change_are_refused():
    answers = iter([{"a": 1.0}, {"b": 1.0}])
    with pytest.raises(DataError, match=r"gave \['a'\] for the first model alone and \['b'\]"):
        user_metric(lambda outputs, labels: next(answers), RIGHT, WORSE, LABELS)


def test_a_metric_may_write_into_what_it_is_given():
    def wiping(outputs, labels):
        found = both(outputs, labels)
        labels[:], outputs["y"][:] = 0, 0
        return found

    labels = LABELS.copy()
    first, second = ({"y": outputs["y"].copy()} for outputs in (RIGHT, WORSE))
    found = user_metric(wiping, first, second, labels)
    assert found["metrics"] == {"accuracy": (1.0, 0.97), "recall": (1.0, 0.94)}
    assert found["metric_interval"] == compared(both, WORSE).metric_interval
    np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize("kind", ["nan", "absent", "raising"])
def test_where_a_group_leaves_the_metric_undefined_there_is_no_interval_and_no_error(kind):
    labels = np.array([1] + [0] * 39)

    def metric(outputs, labels):
        if labels.any():
            return {"a": 1.0, "b": 0.5}
        return {"nan": {"a": float("nan"), "b": 0.5}, "absent": {"b": 0.5}, "raising": None}[kind] or 1 / 0

    found = user_metric(metric, {"y": labels}, {"y": labels}, labels)
    assert (found["metrics"]["a"], found["metric_interval"]) == ((1.0, 1.0), None)


def test_steering_samples_with_none_of_what_the_metric_counts_steer_without_it():
    def undefined(outputs, labels):
        return float("nan")

    samples = ArraySource({"x": normal(20, 4, seed=1)}, np.zeros(20, int))
    reached = Goal(Gate(max_drop="10pt"), linear(), samples, metric=undefined).measure(linear())
    assert (reached.holds, reached.text) == (True, "accuracy lost 0.00pt")
