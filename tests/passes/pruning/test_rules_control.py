"""If, Loop and Scan: what a prune makes of them, written out."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import ints, net, scalar

from onnxcompress import verify
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.report import Finding
from onnxcompress.testing import context


def pruned(model: ir.Model, **options) -> list[Finding]:
    ctx = context(model)
    findings = list(PruneChannels(ratio=0.5, **options).run(model, ctx))
    verify.check_structure(model, ctx)
    verify.check_interface(ctx.original, model)
    return findings


def test_a_body_before_and_after():
    text = (
        "g (float[N,3] x, bool c) => (float[N,2] y) { a = Gemm(x, w0) i = If<then_branch = t () => (float[N,2,4] u) "
        "{ s = Shape(a) n = Slice(s, zero, one) p = Concat<axis=0>(n, split) u = Reshape(a, p) }, "
        "else_branch = e () => (float[N,2,4] v) { k = Mul(a, gain) v = Reshape(k, fixed) }>(c) "
        "m = Reshape(i, flat) y = MatMul(m, w1) }"
    )
    given = {"zero": ints(0), "one": ints(1), "split": ints(2, 4), "fixed": ints(0, 2, 4), "flat": ints(0, 8)}
    model = net(text, {"w0": (3, 8), "w1": (8, 2), "gain": (8,)}, **given)
    findings = pruned(model)
    assert "PRUNE-EXACT" in {f.code for f in findings}
    branch = next(n for n in model.graph if n.op_type == "If")
    then, other = (branch.attributes[name].as_graph() for name in ("then_branch", "else_branch"))
    assert [node.op_type for node in then][-1] == "Reshape"
    shapes = {v.name: v.const_value.numpy().tolist() for v in model.graph.initializers.values() if v.dtype.is_integer()}
    assert shapes["fixed"] == [0, 2, 2]
    assert shapes["flat"] == [0, 4]
    assert model.graph.initializers["gain"].const_value.shape == (4,)
    assert [node.op_type for node in other] == ["Mul", "Reshape"]


def test_weights_inside_a_body_are_cut():
    text = (
        "g (float[N,3] x, bool c) => (float[N,2] y) { a = Gemm(x, w0) i = If<then_branch = t () => (float[N,6] u) "
        "{ w = Constant<value = float[8,6] {"
        + ",".join(str(i % 7 - 3) for i in range(48))
        + "}>() u = MatMul(a, w) }, "
        "else_branch = e () => (float[N,6] v) { v = MatMul(a, w2) }>(c) y = Gemm(i, w1) }"
    )
    model = net(text, {"w0": (3, 8), "w1": (6, 2), "w2": (8, 6)})
    pruned(model)
    then = next(n for n in model.graph if n.op_type == "If").attributes["then_branch"].as_graph()
    assert tuple(then[0].attributes["value"].as_tensor().shape) == (4, 3)
    assert model.graph.initializers["w2"].const_value.shape == (4, 3)


@pytest.mark.parametrize("trips", [0, 1, 3])
def test_a_state_is_one_list_at_every_time(trips):
    text = (
        "g (float[N,3] x) => (float[N,2] y, float[S,N,2] z) { a = Gemm(x, w0) "
        "l, k = Loop<body = b (int64 i, bool go, float[N,8] u) => (bool on, float[N,8] v, float[N,2] o) "
        "{ on = Identity(go) t = MatMul(u, w1) v = Tanh(t) o = MatMul(v, w2) }>(trips, yes, a) "
        "y = MatMul(l, w2) z = Neg(k) }"
    )
    model = net(text, {"w0": (3, 8), "w1": (8, 8), "w2": (8, 2)}, trips=scalar(trips), yes=np.array(True))
    pruned(model)
    sizes = {n: tuple(model.graph.initializers[n].const_value.shape) for n in ("w0", "w1", "w2")}
    assert sizes == {"w0": (3, 4), "w1": (4, 4), "w2": (4, 2)}


def test_a_state_that_starts_as_an_input_stays():
    text = (
        "g (float[N,3] x, float[N,8] h) => (float[N,2] y) { a = Gemm(x, w0) "
        "l = Loop<body = b (int64 i, bool go, float[N,8] u) => (bool on, float[N,8] v) "
        "{ on = Identity(go) v = Add(u, a) }>(trips, yes, h) y = MatMul(l, w2) }"
    )
    model = net(text, {"w0": (3, 8), "w2": (8, 2)}, trips=scalar(2), yes=np.array(True))
    assert {f.code for f in pruned(model)} >= {"PRUNE-NOTHING", "PRUNE-FROZEN-PARTNER"}


def test_an_axis_that_is_scanned_stays():
    text = (
        "g (float[N,3] x) => (float[N,2] y) { a = Gemm(x, w0) t = Transpose<perm=[1,0]>(a) "
        "n, s = Scan<num_scan_inputs=1, body = b (float u, float[N] r) => (float v, float[N] o) "
        "{ v = Identity(u) o = Neg(r) }>(zero, t) p = Transpose<perm=[1,0]>(s) y = MatMul(p, w2) }"
    )
    model = net(text, {"w0": (3, 8), "w2": (8, 2)}, zero=np.array(0, np.float32))
    assert "PRUNE-NOTHING" in {f.code for f in pruned(model)}


def test_loops_in_loops():
    inner = (
        "q = Loop<body = c (int64 j, bool go2, float[N,8] r) => (bool on2, float[N,8] s) "
        "{ on2 = Identity(go2) s = Add(r, a) }>(trips, yes, u)"
    )
    text = (
        "g (float[N,3] x) => (float[N,2] y) { a = Gemm(x, w0) "
        "l = Loop<body = b (int64 i, bool go, float[N,8] u) => (bool on, float[N,8] v) "
        f"{{ on = Identity(go) {inner} v = Tanh(q) }}>(trips, yes, a) y = MatMul(l, w2) }}"
    )
    model = net(text, {"w0": (3, 8), "w2": (8, 2)}, trips=scalar(2), yes=np.array(True))
    pruned(model)
    assert model.graph.initializers["w0"].const_value.shape == (3, 4)


def test_a_branch_that_the_probe_cannot_take_stays():
    text = (
        "g (float[N,3] x, bool c) => (float[M,8] y) { a = Gemm(x, w0) b = Gemm(x, w2) r = Relu(b) m = MatMul(r, w1) "
        "i = If<then_branch = t () => (float[K,8] u) { s = Squeeze(a, first) u = Unsqueeze(s, first) }, "
        "else_branch = e () => (float[L,8] v) { v = Neg(a) }>(c) y = Add(i, m) }"
    )
    model = net(text, {"w0": (3, 8), "w2": (3, 6), "w1": (6, 8)}, first=ints(0))
    ctx = context(model)
    list(PruneChannels(ratio=0.5).run(model, ctx))
    verify.check_structure(model, ctx)
    assert model.graph.initializers["w0"].const_value.shape == (3, 8)
    assert model.graph.initializers["w2"].const_value.shape == (3, 3)
