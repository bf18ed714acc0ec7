from __future__ import annotations

import numpy as np
import pytest
from builders.pruning_models import NETS, conv_bn_residual, net

from onnxcompress.graph import clone, in_scope
from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.importance import importance
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.scores import NAMES, load_score
from onnxcompress.passes.pruning.scores.geometric_median import distances
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.shapes import infer
from onnxcompress.testing import context

TEXT = "g (float[N,2] x) => (float[N,2] y) { h = Gemm(x, w1) r = Relu(h) y = Gemm(r, w2) }"
W1 = np.array([[1, 9, 2, -3], [1, 0, 2, 4]], np.float32)


def traced(model):
    return trace(model, infer(model, values=True), RULES, in_scope(model), set())


def scored(model, name, **settings):
    """Scores of the first producer's channels."""
    found = traced(model)
    values, findings = importance(found, name, context(model, **settings))
    return values[found.producers[0].ids], findings


@pytest.mark.parametrize(
    ("name", "raw"),
    [("l1", [2, 9, 4, 7]), ("l2", [2**0.5, 9, 8**0.5, 5])],
)
def test_norms_are_divided_by_their_mean_and_averaged_over_the_group(name, raw):
    model = net(TEXT, {}, w1=W1, w2=np.array([[1, 0], [1, 0], [1, 0], [5, 0]], np.float32))
    values, findings = scored(model, name)
    assert values == pytest.approx((np.array(raw) / np.mean(raw) + np.array([1, 1, 1, 5]) / 2) / 2)
    assert findings == []


def test_what_the_others_can_imitate_goes_first_by_the_geometric_median():
    rows = np.array([[10.0, 0], [10.1, 0], [9.9, 0], [0, 1]])
    assert np.argmax(distances(rows)) == 3, "the smallest filter is the only one of its kind"
    full = np.array([[np.linalg.norm(a - b) for b in rows] for a in rows]).sum(axis=1)
    assert distances(rows) == pytest.approx(full)


def test_distances_do_not_depend_on_the_block(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(37, 5))
    whole = distances(rows)
    monkeypatch.setattr("onnxcompress.passes.pruning.scores.geometric_median._BLOCK_ELEMENTS", 100)
    assert distances(rows) == pytest.approx(whole)


def _normed():
    text = (
        "g (float[N,3,6,6] x) => (float[N,2,6,6] y) "
        "{ a = Conv(x, w0) b = BatchNormalization(a, s, o, m, v) r = Relu(b) c = Conv(r, w1) "
        "q = Relu(c) y = Conv(q, w2) }"
    )
    shapes = {"w0": (4, 3, 1, 1), "o": (4,), "m": (4,), "w1": (5, 4, 1, 1), "w2": (2, 5, 1, 1)}
    return net(text, shapes, s=np.array([1, -4, 0, 3], np.float32), v=np.ones(4, np.float32))


def test_the_scale_of_a_batchnorm_is_the_score_and_the_rest_falls_back():
    values, findings = scored(_normed(), "batchnorm")
    assert values == pytest.approx([0.5, 2, 0, 1.5])
    assert [(f.code, f.node) for f in findings] == [("PRUNE-SCORE-FALLBACK", "c")]


def test_a_batchnorm_that_this_run_has_folded_is_found_in_the_original():
    original = _normed()
    folded = clone(original)
    list(FoldBatchNorm().run(folded, context(original)))
    assert "BatchNormalization" not in [node.op_type for node in folded.graph]
    found = traced(folded)
    values = load_score("batchnorm")(found, context(original))
    assert values[found.producers[0].ids] == pytest.approx([0.5, 2, 0, 1.5])


def test_random_follows_the_seed():
    model = conv_bn_residual()
    first, again, other = (scored(model, "random", seed=seed)[0] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["grouped conv", "vit block", "bidirectional lstm"])
def test_every_score_prunes_exactly(name, kind):
    model = NETS[kind]()
    codes = [f.code for f in PruneChannels(ratio=0.5, score=name).run(model, context(model))]
    assert "PRUNE-EXACT" in codes


def test_channels_without_any_weight_of_their_own_do_not_count_as_worthless():
    """Zero weights everywhere: no score is NaN, none is infinite."""
    model = net(TEXT, {}, w1=np.zeros((2, 4), np.float32), w2=np.zeros((4, 2), np.float32))
    for name in NAMES:
        assert np.isfinite(scored(model, name)[0]).all()
