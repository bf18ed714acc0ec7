"""What holds for every model that is pruned: nothing asked, nothing changed; and the rest computes as if masked."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from builders.equality import difference, interface, is_checked, run
from builders.strategies import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnxcompress import model_io
from onnxcompress.passes.base import Pass
from onnxcompress.passes.normalize import Normalize
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.prune_weights import PruneWeights
from onnxcompress.testing import check_pass, context, normal_text, random_feeds, random_model

DEFAULT = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
RATIOS = st.sampled_from([0.25, 0.5, 0.9])


def check_mask(model: ir.Model, ratio: float) -> None:
    """The pass compares its result with the masked original and raises where they differ; the rest is checked here."""
    before = ir.to_proto(model)
    findings = list(PruneChannels(ratio=ratio).run(model, context(model, verify="full")))
    after = ir.to_proto(model)
    assert is_checked(after)
    assert interface(before) == interface(after)
    for batch in (2, 3):
        feeds = random_feeds(model, 5, batch=batch)
        assert [a.shape for a in run(before, feeds)] == [a.shape for a in run(after, feeds)]
    assert {f.code for f in findings} & {"PRUNE-EXACT", "PRUNE-NOTHING"}


@DEFAULT
@given(models(), RATIOS)
def test_a_pruned_model_computes_what_the_masked_one_does(model: ir.Model, ratio: float) -> None:
    check_mask(model, ratio)


def test_pruning_finds_something_to_remove_in_most_models() -> None:
    cut = 0
    for seed in range(12):
        model = random_model(seed, steps=12)
        codes = [f.code for f in PruneChannels(ratio=0.5).run(model, context(model))]
        cut += "PRUNE-CUT" in codes
    assert cut >= 4


@DEFAULT
@given(models())
def test_ratio_zero_is_the_identity(model: ir.Model) -> None:
    before, text = model_io.to_bytes(model), normal_text(model)
    list(PruneChannels(ratio=0.0).run(model, context(model)))
    assert model_io.to_bytes(model) == before
    list(PruneWeights(sparsity=0.0).run(model, context(model)))
    assert normal_text(model) == text


@DEFAULT
@given(models())
def test_normalizing_first_changes_nothing_about_validity(model: ir.Model) -> None:
    list(Normalize().run(model, context(model)))
    check_mask(model, 0.5)


@DEFAULT
@given(models())
def test_zeroed_weights_keep_shapes_and_numbers_of_what_is_left(model: ir.Model) -> None:
    before = ir.to_proto(model)
    list(PruneWeights(sparsity=0.5).run(model, context(model)))
    after = ir.to_proto(model)
    assert [n.op_type for n in before.graph.node] == [n.op_type for n in after.graph.node]
    feeds = random_feeds(model)
    assert [a.shape for a in run(before, feeds)] == [a.shape for a in run(after, feeds)]
    assert difference(run(after, feeds), run(after, feeds, optimize=True), 1e-4) == ""


@pytest.mark.ci
@pytest.mark.parametrize("pass_", [PruneChannels(ratio=0.5), PruneWeights()])
def test_pruning_passes_conform(pass_: Pass) -> None:
    assert check_pass(pass_).changed > 5


@pytest.mark.nightly
@MANY
@given(models(30), RATIOS)
def test_many_pruned_models_compute_what_the_masked_ones_do(model: ir.Model, ratio: float) -> None:
    check_mask(model, ratio)
