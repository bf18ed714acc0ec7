"""Outputs that the user lets a prune cut."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.minis import MINIS
from builders.pruning_models import net

from onnxcompress import verify
from onnxcompress.errors import UsageError
from onnxcompress.manager import PassManager
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.testing import context
from onnxcompress.verify.freed import META

RESIDUAL = next(mini for mini in MINIS if mini.title == "residual stream as an output")


def pruned(model: ir.Model, *allowed: str, ratio: float = 0.5):
    ctx = context(model)
    return list(PruneChannels(ratio=ratio, allow_output=allowed).run(model, ctx)), ctx.original


@pytest.mark.parametrize("entry", ["z", "z:2", "z:-1"])
def test_a_freed_axis_is_cut_and_said(entry):
    model = RESIDUAL.model()
    findings, whole = pruned(model, entry)
    assert list(model.graph.outputs[0].shape or ())[2] == 4
    assert model.graph.initializers["w0"].const_value.shape == (10, 4)
    said = [f for f in findings if f.code == "PRUNE-OUTPUT-CUT"]
    assert [f.numbers for f in said] == [{"axis": 2, "before": 8, "after": 4}]
    assert any(f.code == "PRUNE-EXACT" and f.numbers["error"] <= 1e-5 for f in findings)
    verify.check_structure(model)
    verify.check_interface(whole, model)


def test_the_interface_check_accepts_no_more_than_what_was_allowed():
    model = RESIDUAL.model()
    _, whole = pruned(model, "z:2")
    del model.meta[META]
    with pytest.raises(verify.VerifyFailure, match="output z"):
        verify.check_interface(whole, model)
    model.meta[META] = {"z": {2: [0, 1, 2]}}
    with pytest.raises(verify.VerifyFailure, match="output z"):
        verify.check_interface(whole, model)


def test_positions_are_those_of_the_first_model():
    model = RESIDUAL.model()
    _, whole = pruned(model, "z", ratio=0.3)
    first = model.meta[META]["z"][2]
    pruned(model, "z", ratio=0.5)
    second = model.meta[META]["z"][2]
    assert set(second) < set(first)
    verify.check_interface(whole, model)
    x = np.random.default_rng(0).normal(size=(2, 6, 10)).astype(np.float32)
    assert set(verify.compare(whole, model, {"x": x}).outputs) == {"z", "y"}


def test_what_is_left_of_an_output_is_compared():
    text = "g (float[N,4] x) => (float[N,6] y) { y = MatMul(x, w0) }"
    model = net(text, {"w0": (4, 6)})
    data = {"x": np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)}
    result = PassManager([PruneChannels(ratio=0.5, allow_output=("y",))]).run(model, eval_data=data)
    assert result.report.quality["max_abs"] < 1e-5
    assert "PRUNE-OUTPUT-CUT" in {finding.code for finding in result.report.findings}


def test_a_held_output_names_the_option():
    findings, _ = pruned(RESIDUAL.model())
    held = [f.message for f in findings if f.code == "PRUNE-FROZEN-OUTPUT" and f.node == "a"]
    assert len(held) == 1
    assert "--allow-output z:2" in held[0]


@pytest.mark.parametrize("entry", ["q", "z:3", "z:-4", "z:one", ""])
def test_an_output_that_is_none_is_refused(entry):
    with pytest.raises(UsageError) as caught:
        pruned(RESIDUAL.model(), entry)
    assert caught.value.code == "USAGE-PRUNE-OUTPUT"
    assert caught.value.hint
