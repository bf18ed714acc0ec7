from __future__ import annotations

import numpy as np
import pytest
from builders.pruning_models import NETS

from onnxcompress.cost import costs
from onnxcompress.graph import in_scope
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.budget import channel_budget, mac_budget, parameter_budget
from onnxcompress.passes.pruning.cells import cells
from onnxcompress.passes.pruning.importance import importance
from onnxcompress.passes.pruning.plan import aim_of, decide
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.shapes import infer
from onnxcompress.testing import context

# Vectors that two readers cut differently are copied, which adds parameters that no product foresees.
COPIED = {"shared bias"}


def prepared(name):
    model = NETS[name]()
    found = trace(model, infer(model, values=True), RULES, in_scope(model), set())
    return model, found, cells(found, importance(found, "l2", context(model))[0])


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("figure", ["macs", "params"])
def test_the_cost_foreseen_is_the_cost_that_comes(name, figure):
    model, found, choices = prepared(name)
    ctx, before = context(model), costs(model)
    aim = aim_of(found, PruneChannels(ratio=0.4), before)
    decision = decide(found, choices, PruneChannels(ratio=0.4), ctx, aim)
    if figure == "macs":
        budget = mac_budget(found, choices, before.macs_by_node, before.macs)
    else:
        budget = parameter_budget(found, choices, before.params)
    assert budget.whole == getattr(before, figure)
    list(PruneChannels(ratio=0.4).run(model, ctx))
    after = getattr(costs(model), figure)
    assert name in COPIED or budget.cost(decision.counts) == pytest.approx(after, rel=1e-9)


@pytest.mark.parametrize("name", ["grouped conv", "vit block", "bidirectional lstm"])
def test_savings_are_differences_of_costs(name):
    model, found, choices = prepared(name)
    budget = mac_budget(found, choices, costs(model).macs_by_node, costs(model).macs)
    counts = np.array([cell.order.shape[1] // 3 for cell in choices])
    for i, cell in enumerate(choices):
        stops = np.arange(cell.order.shape[1])
        each = [budget.cost(counts) - budget.cost(np.where(np.arange(len(counts)) == i, n, counts)) for n in stops]
        assert budget.savings(i, counts, stops) == pytest.approx(each)


def test_channels_cost_one_each():
    _, found, choices = prepared("grouped conv")
    budget = channel_budget(choices, len(found.atoms))
    assert budget.whole == sum(cell.order.shape[1] * cell.channels for cell in choices)
    some = np.array([2 if i == 0 else 0 for i in range(len(choices))])
    assert budget.whole - budget.cost(some) == pytest.approx(2 * choices[0].channels)
