from __future__ import annotations

import onnx_ir as ir
import pytest
from builders.pruning_models import NETS

from onnxcompress import verify
from onnxcompress.cost import costs
from onnxcompress.errors import GateError, UsageError
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.rates import latency_goal
from onnxcompress.report import Finding
from onnxcompress.testing import context, model_of


def pruned(model: ir.Model, **options) -> list[Finding]:
    ctx = context(model)
    findings = list(PruneChannels(**options).run(model, ctx))
    verify.check_structure(model, ctx)
    verify.check_interface(ctx.original, model)
    return findings


@pytest.mark.parametrize("name", ["channel shuffle", "vit block", "bidirectional lstm"])
def test_what_is_cut_for_time_is_exact_and_told(name):
    model = NETS[name]()
    before = costs(model).macs
    findings = {finding.code: finding for finding in pruned(model, target_latency="0.1x", allow_miss=True)}
    assert costs(model).macs < before
    told = findings.get("PRUNE-LATENCY") or findings["PRUNE-TARGET-MISSED"]
    assert told.numbers["goal"] == pytest.approx(0.1)
    assert float(told.numbers["ratio"]) > 0
    assert "PRUNE-EXACT" in findings


def test_a_time_that_no_cut_reaches_is_refused():
    with pytest.raises(GateError, match=r"--target-latency 0.0001ms cannot be met") as caught:
        pruned(NETS["vit block"](), target_latency="0.0001ms")
    assert caught.value.code == "GATE-TARGET-MISSED"


@pytest.mark.parametrize("text", ["fast", "0.5", "x", "ms", "0x", "-2ms", "1.5x", "nanx", "infms"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="--target-latency"):
        latency_goal(text, 10.0)


def test_times_and_fractions_of_one():
    assert latency_goal("0.6x", 10.0) == 0.6
    assert latency_goal("8ms", 10.0) == 0.8


@pytest.mark.parametrize("other", [{"ratio": 0.5}, {"target_macs": "0.5x"}, {"layer": ("op:Conv=0.3",)}])
def test_one_goal_at_a_time(other):
    with pytest.raises(UsageError, match="exclude each other"):
        pruned(NETS["vit block"](), target_latency="0.6x", **other)


def test_a_model_without_layers_is_refused_not_divided_by():
    model = model_of("g (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }")
    with pytest.raises(GateError, match=r"no operator of this model makes channels.*Take what there is"):
        pruned(model, target_latency="0.7x")
