from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import NETS

from onnxcompress.graph import in_scope
from onnxcompress.passes.pruning import steps
from onnxcompress.passes.pruning.budget import removed
from onnxcompress.passes.pruning.cells import cells
from onnxcompress.passes.pruning.importance import importance
from onnxcompress.passes.pruning.latency.budget import LatencyBudget, Table
from onnxcompress.passes.pruning.latency.layers import layer_at
from onnxcompress.passes.pruning.latency.measure import Stopwatch
from onnxcompress.passes.pruning.latency.search import Timing, search, tolerance
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.surgery import Cut
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import infer
from onnxcompress.testing import context


class Pretended(Stopwatch):
    """A stopwatch that counts the elements that a layer reads, so that no test depends on time."""

    def of(self, layer) -> float:
        elements = sum(array.size for array in layer.feeds.values())
        elements += sum(value.const_value.size for value in layer.model.graph.initializers.values())
        self.seconds[layer.key] = float(elements)
        return float(elements)


def traced(model: ir.Model):
    found = trace(model, infer(model, values=True), RULES, in_scope(model), set())
    scores, _ = importance(found, "l2", context(model))
    return found, cells(found, scores)


def test_a_table_is_exact_at_its_points_and_linear_between():
    points = [np.array([0.25, 0.5, 1.0]), np.array([0.5, 1.0])]
    seconds = np.array([[1.0, 2.0], [2.0, 4.0], [6.0, 8.0]])
    table = Table([np.arange(4), np.arange(2)], points, seconds)
    for i, a in enumerate(points[0]):
        for j, b in enumerate(points[1]):
            assert float(table.at([np.asarray(a), np.asarray(b)])) == seconds[i, j]
    assert float(table.at([np.asarray(0.75), np.asarray(0.75)])) == pytest.approx((2 + 4 + 6 + 8) / 4)
    assert float(table.at([np.asarray(0.0), np.asarray(2.0)])) == seconds[0, 1]


def test_a_table_takes_many_positions_at_once():
    table = Table([np.arange(4)], [np.array([0.5, 1.0])], np.array([1.0, 3.0]))
    np.testing.assert_allclose(table.at([np.array([0.5, 0.75, 1.0])]), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("name", sorted(NETS))
def test_every_layer_runs_alone_at_every_width(name):
    found, choices = traced(NETS[name]())
    every = np.array([cell.order.shape[1] // 2 for cell in choices], np.int64)
    ran = 0
    for counts in (np.zeros_like(every), every):
        cut = Cut(found, removed(choices, counts, len(found.atoms)))
        for node in {term.node for term in found.terms}:
            layer = layer_at(cut, node)
            if layer is not None:
                Session(layer.model, RuntimeOptions(threads=1)).run(layer.feeds)
                ran += 1
    assert ran


def test_the_budget_falls_with_every_channel_and_measures_equal_layers_once():
    model = NETS["channel shuffle"]()
    found, choices = traced(model)
    limits = [steps.stops(cell, 1, steps.Floor()) for cell in choices]
    watch = Pretended(RuntimeOptions(threads=1))
    budgets = LatencyBudget(found, watch, whole=1e6)
    budget = budgets.of(choices, limits)
    measured = len(watch.seconds)
    budgets.of(choices, limits)
    assert len(watch.seconds) == measured
    assert budget.whole == pytest.approx(1e6)
    for i, stops in enumerate(limits):
        counts = np.zeros(len(choices), np.int64)
        saved = budget.savings(i, counts, stops)
        assert (np.diff(saved) > 0).all()
        at_end = counts.copy()
        at_end[i] = stops[-1]
        assert budget.whole - budget.cost(at_end) == pytest.approx(saved[-1])


@pytest.mark.parametrize("fixed", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("goal", [0.6, 0.8])
def test_the_search_lands_on_the_goal(fixed, goal):
    def timed(level: float) -> Timing:
        return Timing(level, fixed + (1 - fixed) * level**1.5, 1.0, 1.0, 0.01)

    best = search(goal, 0.05, timed)[0]
    assert abs(best.ratio - goal) <= tolerance(best, goal)


def test_a_goal_out_of_reach_gives_the_lowest_that_was_timed():
    best = search(0.3, 0.1, lambda level: Timing(level, 0.5 + 0.5 * level, 1.0, 1.0, 0.01))[0]
    assert best.ratio == pytest.approx(0.55, abs=0.01)
