"""Sizes that a model computes of what is cut."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress import verify
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.runtime import Session
from onnxcompress.shapes import probe_feeds
from onnxcompress.testing import context

_HEADER = '<ir_version: 10, opset_import: ["": 18]> '


def pruned(text: str, **options) -> tuple[ir.Model, ir.Model]:
    """A model with weights of one, before and after."""
    model = ir.from_onnx_text(_HEADER + text)
    ctx = context(model)
    codes = {finding.code for finding in PruneChannels(ratio=0.5, **options).run(model, ctx)}
    assert {"PRUNE-CUT", "PRUNE-EXACT"} <= codes
    verify.check_structure(model, ctx)
    return ctx.original, model


SIZES = {
    "of a tensor": "r = Relu(a) s = Shape(r) y = Conv(r, w1)",
    "of a weight": "r = Relu(a) s = Shape(w0) y = Conv(r, w1)",
    "in part": "r = Relu(a) s = Shape<start=-3, end=-1>(r) y = Conv(r, w1)",
    "of a constant": "r = Relu(a) k = Identity(w1) s = Shape(k) y = Conv(r, k)",
}


@pytest.mark.parametrize("body", SIZES.values(), ids=SIZES)
def test_sizes_that_are_an_output_are_those_of_the_original(body):
    whole, model = pruned(
        f"""g (float[N,3,8,8] x) => (float[N,4,8,8] y, int64[{2 if "start" in body else 4}] s)
        <float[8,3,1,1] w0 = {{{",".join("1" for _ in range(24))}}}, float[4,8,1,1] w1 = {{{",".join("1" * 32)}}}>
        {{ a = Conv(x, w0) {body} }}"""
    )
    feeds = probe_feeds(whole, batch=3)
    before, after = (Session(m, optimize=False).run(feeds) for m in (whole, model))
    assert np.array_equal(before["s"], after["s"])


def test_a_scale_computed_of_a_weights_size_stays():
    whole, model = pruned(
        f"""g (float[N,3,8,8] x) => (float[N,4,8,8] y)
        <float[8,3,1,1] w0 = {{{",".join("1" * 24)}}}, float[4,8,1,1] w1 = {{{",".join("1" * 32)}}}, int64 zero = {{0}}>
        {{ a = Conv(x, w0) s = Shape(w0) c = Gather(s, zero) f = Cast<to=1>(c) d = Div(a, f) y = Conv(d, w1) }}"""
    )
    feeds = probe_feeds(whole, batch=3)
    before, after = (Session(m, optimize=False).run(feeds)["y"] for m in (whole, model))
    np.testing.assert_allclose(after, before / 2, rtol=1e-5)  # half of eight equal channels


def test_a_norm_that_is_an_output_is_compared_where_it_may_be_cut():
    whole, model = pruned(
        f"""g (float[N,5,6] x) => (float[N,5,8] y)
        <float[6,8] w0 = {{{",".join(str(i % 7) for i in range(48))}}}, float[8] scale = {{{",".join("1" * 8)}}}>
        {{ a = MatMul(x, w0) y = LayerNormalization(a, scale) }}""",
        allow_output=("y",),
    )
    assert whole.graph.outputs[0].shape == [ir.SymbolicDim("N"), 5, 8]
    assert model.graph.outputs[0].shape == [ir.SymbolicDim("N"), 5, 4]
