"""If, Loop and Scan with known counts: numbers and gradients, weights in their bodies, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model

from onnxcompress.distill import control_flow
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.errors import ModelError
from onnxcompress.runtime import Session

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
X = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)

# Three turns of h <- tanh(h w + b_i), with every h kept; b_i is a row of a table.
LOOP = """
net (float[N, 2] x) => (float[N, 2] last, float[3, N, 2] all, float[N, 2] y)
<int64 count = {3}, bool yes = {1}, float[2, 2] w = {0.5, -1.0, 1.5, 0.25}, float[3, 2] table = {1, 2, 3, 4, 5, 6}> {
    last, all = Loop (count, yes, x) <body =
        turn (int64 i, bool go, float[N, 2] h) => (bool more, float[N, 2] t, float[N, 2] u) {
        row = Gather (table, i)
        m = MatMul (h, w)
        s = Add (m, row)
        t = Tanh (s)
        u = Mul (t, x)
        more = Identity (go)
    }>
    y = Add (last, x)
}
"""  # fmt: skip


def both(made: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Outputs of the bridge, which are those of ONNX Runtime."""
    bridge = Bridge(made)
    found = bridge.specialise(feeds).run(feeds)
    for name, wanted in Session(made, optimize=False).run(feeds).items():
        np.testing.assert_allclose(found[name].detach(), wanted, atol=1e-6, err_msg=name)
    return found


def gradient(tensor: torch.Tensor) -> torch.Tensor:
    """The gradient, which is there."""
    assert tensor.grad is not None
    return tensor.grad


def moved(made: ir.Model, names: set[str], feeds: dict[str, np.ndarray]) -> None:
    """Train one step, write back, and see ONNX Runtime give what was trained."""
    bridge = Bridge(made)
    start = snapshot(bridge)
    outputs = bridge.specialise(feeds).run(feeds).values()
    torch.stack([t.square().sum() for t in outputs]).sum().backward()
    with torch.no_grad():
        for _, parameter in bridge.trainable():
            parameter -= 0.01 * gradient(parameter).sign()
    wanted = bridge.specialise(feeds).run(feeds)
    assert write_back(made, bridge, snapshot(bridge)) == []
    assert set(write_back(made, bridge, start)) == names
    for name, stored in Session(made, optimize=False).run(feeds).items():
        np.testing.assert_allclose(wanted[name].detach(), stored, atol=1e-5)


def test_a_loop_gives_what_onnx_runtime_gives_and_the_gradient_of_all_turns():
    made = model(HEAD + LOOP)
    found = both(made, {"x": X})
    bridge = Bridge(made)
    assert [(w.name, w.role) for w, _ in bridge.trainable()] == [("table", "weight"), ("w", "weight")]
    bridge.specialise({"x": X}).run({"x": X})["all"].sum().backward()
    w, table = (torch.from_numpy(array(made, n)).requires_grad_() for n in ("w", "table"))
    h, total = torch.from_numpy(X), torch.zeros(())
    for i in range(3):
        h = torch.tanh(h @ w + table[i])
        total = total + (h * torch.from_numpy(X)).sum()
    assert total.item() == pytest.approx(found["all"].sum().item(), rel=1e-5)
    total.backward()
    grads = {weight.name: gradient(p) for weight, p in bridge.trainable()}
    np.testing.assert_allclose(grads["w"], gradient(w), rtol=1e-4)
    np.testing.assert_allclose(grads["table"], gradient(table), rtol=1e-4, atol=1e-6)


def test_what_a_loop_trained_is_written_back():
    moved(model(HEAD + LOOP), {"w", "table"}, {"x": X})


IN_BODY = """
net (float[N, 2] x) => (float[N, 2] y) <int64 count = {2}, bool yes = {1}> {
    y = Loop (count, yes, x) <body =
        turn (int64 i, bool go, float[N, 2] h) => (bool more, float[N, 2] t)
        <float[2, 2] inner = {0.5, -1.0, 1.5, 0.25}> {
        b = Constant <value_floats = [0.5, -0.5]> ()
        m = MatMul (h, inner)
        n = Mul (m, m)
        s = Add (n, b)
        t = Tanh (s)
        more = Identity (go)
    }>
}
"""


def test_weights_held_in_a_body_are_trained_and_written_there():
    made = model(HEAD + IN_BODY)
    both(made, {"x": X})
    assert {w.name for w, _ in Bridge(made).trainable()} == {"inner", "b"}
    moved(made, {"inner", "b"}, {"x": X})


def test_integer_weights_held_in_a_body_stay_on_their_grid_in_all_turns():
    old, new = "float[2, 2] inner = {0.5, -1.0, 1.5, 0.25}", "int8[2, 2] q = {5, -10, 15, 2}, float step = {0.01}"
    text = IN_BODY.replace(old, new).replace("m = MatMul", "inner = DequantizeLinear (q, step)  m = MatMul")
    made = model(HEAD + text)
    both(made, {"x": X})
    moved(made, {"b", "q"}, {"x": X})


WHILE = """
net (float[N, 2] x) => (float[N, 2] y) <int64 two = {2}, bool yes = {1}, float[2] w = {1.5, -0.5}> {
    y = Loop ("", yes, x) <body = turn (int64 i, bool go, float[N, 2] h) => (bool more, float[N, 2] t) {
        odd = Equal (i, two)
        t = If (odd) <
            then_branch = yes () => (float[N, 2] a) { a = Mul (h, w) },
            else_branch = no () => (float[N, 2] b) { c = Add (h, w)  b = Neg (c) }
        >
        more = Less (i, two)
    }>
}
"""


def test_a_condition_and_a_branch_that_depend_on_the_turn_alone():
    made = model(HEAD + WHILE.replace('("", yes, x)', "(, yes, x)"))
    both(made, {"x": X})
    moved(made, {"w"}, {"x": X})


NESTED = """
net (float[N, 2] x) => (float[N, 2] y, float[2, 3, N, 2] all)
<int64 outer = {2}, int64 inner = {3}, bool yes = {1}, float[2] w = {1.1, 0.9}> {
    y, all = Loop (outer, yes, x) <body =
        a (int64 i, bool go, float[N, 2] h) => (bool more, float[N, 2] t, float[3, N, 2] rows) {
        t, rows = Loop (inner, go, h) <body =
            b (int64 j, bool on, float[N, 2] g) => (bool next, float[N, 2] u, float[N, 2] v) {
            m = Mul (g, w)
            u = Add (m, x)
            v = Sub (u, h)
            next = Identity (on)
        }>
        more = Identity (go)
    }>
}
"""  # fmt: skip


def test_loops_in_loops_with_values_of_every_scope():
    made = model(HEAD + NESTED)
    both(made, {"x": X})
    moved(made, {"w"}, {"x": X})


def test_a_loop_that_takes_no_turn():
    text = NESTED.replace("outer = {2}", "outer = {0}").replace("float[2, 3, N, 2] all", "float[0, 3, 3, 2] all")
    found = both(model(HEAD + text.replace("float[3, N, 2] rows", "float[3, 3, 2] rows")), {"x": X})
    assert found["all"].shape == (0, 3, 3, 2)


def test_a_sequence_that_grows():
    text = """net (float[N, 2] x) => (float[M, 2] y) <int64 count = {2}, bool yes = {1}, float[2] w = {1.1, 0.9}> {
        y = Loop (count, yes, x) <body =
        turn (int64 i, bool go, float[K, 2] h) => (bool more, float[L, 2] t) {
            m = Mul (h, w)
            t = Concat <axis = 0> (h, m)
            more = Identity (go) }> }"""
    assert both(model(HEAD + text), {"x": X})["y"].shape == (12, 2)


SCAN = """
net (float[N, 2] x, float[T, N, 2] s) => (float[N, 2] last, float[N, T, 2] rows)
<float[2, 2] w = {0.5, -1.0, 1.5, 0.25}> {
    last, rows = Scan <num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1], body =
        turn (float[N, 2] h, float[N, 2] g) => (float[N, 2] t, float[N, 2] u) {
            m = MatMul (h, w)
            a = Add (m, g)
            t = Tanh (a)
            u = Mul (t, x)
        }> (x, s)
}
"""  # fmt: skip


@pytest.mark.parametrize("direction", [0, 1])
def test_a_scan(direction: int):
    text = SCAN.replace("scan_output_axes", f"scan_output_directions = [{direction}], scan_output_axes")
    feeds = {"x": X, "s": np.random.default_rng(1).normal(size=(4, 3, 2)).astype(np.float32)}
    made = model(HEAD + text)
    both(made, feeds)
    moved(made, {"w"}, feeds)


def test_layers_stacked_for_a_scan_are_weights():
    text = """net (float[N, 2] x) => (float[N, 2] y) <float[3, 2, 2] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}> {
        y = Scan <num_scan_inputs = 1, body = turn (float[N, 2] h, float[2, 2] layer) => (float[N, 2] t) {
            m = MatMul (h, layer)
            t = Tanh (m) }> (x, w) }"""
    made = model(HEAD + text)
    both(made, {"x": X / 20})
    moved(made, {"w"}, {"x": X / 20})


REFUSED = {
    "its trip count depends on the samples": (
        "last, all = Loop (count,", "given = Squeeze (counts)  last, all = Loop (given,",
    ),
    "its condition after turn 0 depends on the samples": (
        "more = Identity (go)", "top = ReduceMax <keepdims = 0> (t)  more = Less (top, limit)",
    ),
    "its first condition depends on the samples": (
        "last, all = Loop (count, yes",
        "top = ReduceMax <keepdims = 0> (x)  early = Less (top, limit)  last, all = Loop (count, early",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_the_samples_decide_is_refused_with_the_ways_out(why: str):
    text = LOOP.replace(*REFUSED[why]).replace("float[3, 2] table", "float limit = {9}, float[3, 2] table")
    text = text.replace("(float[N, 2] x)", "(float[N, 2] x, int64[1] counts)")
    with pytest.raises(ModelError, match=why) as caught:
        Bridge(model(HEAD + text)).specialise({"x": X, "counts": np.array([3])})
    assert caught.value.code == "MODEL-DISTILL-NODE"
    assert "Loop node" in caught.value.where
    assert "--until" in caught.value.hint


def test_endless_loops_end_at_the_cap(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(control_flow, "MOST_UNROLLED", 50)
    text = LOOP.replace("count = {3}", "count = {9}")
    with pytest.raises(ModelError, match="more than 50 nodes"):
        Bridge(model(HEAD + text)).specialise({"x": X})
