"""Constants that an exporter merged learn apart; what is tied on purpose stays tied."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model, node_list
from builders.distill_steps import equal, trained, untrained

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.runtime import Session

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 2)).astype(np.float32)
W, V = (RNG.normal(size=(2, 2)).astype(np.float32) for _ in range(2))
ZEROS, ONES = np.zeros(2, np.float32), np.ones(2, np.float32)

# Two layers and two normalisations, whose biases and gammas an exporter stored once.
MERGED = """
net (float[N, 2] x) => (float[N, 2] y) {
    a = Gemm (x, w, zeros)
    n = LayerNormalization (a, ones, zeros)
    i = Identity (zeros)
    b = Gemm (n, v, i)
    m = LayerNormalization (b, ones, i)
    y = Add (m, x)
}
"""


def merged() -> ir.Model:
    return model(HEAD + MERGED, {"w": W, "v": V, "zeros": ZEROS, "ones": ONES})


def test_merged_zeros_and_ones_learn_apart_and_are_told():
    bridge = untrained(merged())
    assert {w.name for w in bridge.weights} == {"w", "v", "zeros", "zeros_1", "zeros_2", "zeros_3", "ones", "ones_1"}
    told = {f.node: f.numbers["layers"] for f in bridge.findings if f.code == "DISTILL-UNTIED"}
    assert told == {"zeros": 4, "ones": 2}
    assert "DISTILL-TIED" not in {f.code for f in bridge.findings}


def test_untrained_they_stay_one_and_trained_they_are_parted_where_they_differ():
    made = merged()
    nodes = node_list(made)
    changed = trained(made, {"x": X}, step=0.1)
    assert {"zeros", "ones", "ones_1", "w", "v"} <= changed
    assert set(made.graph.initializers) == {"w", "v"} | {n for n in changed if n[0] in "zo"}
    kinds = [(op, outputs) for op, _, _, outputs in node_list(made)]
    assert kinds == [(op, outputs) for op, _, _, outputs in nodes]


def test_a_layer_whose_numbers_came_out_equal_keeps_the_shared_constant():
    made = merged()
    bridge = Bridge(made)
    start = snapshot(bridge)
    position = [w.name for w in bridge.weights].index("ones_1")
    with torch.no_grad():
        bridge.parameters[position] += 1
    assert write_back(made, bridge, start) == ["ones_1"]
    assert set(made.graph.initializers) == {"w", "v", "zeros", "ones", "ones_1"}
    np.testing.assert_array_equal(array(made, "ones"), ONES)
    assert [v.name for v in made.graph.node(4).inputs if v is not None] == ["b", "ones_1", "i"]
    equal(bridge, made, {"x": X})
    with torch.no_grad():
        bridge.parameters[position] += 1
    assert write_back(made, bridge, start) == ["ones_1"]
    equal(bridge, made, {"x": X})


def test_each_layer_gets_the_gradient_of_its_own_place():
    bridge = Bridge(merged())
    bridge.specialise({"x": X}).run({"x": X})["y"].square().sum().backward()
    grads = [p.grad for w, p in bridge.trainable() if w.name.startswith("zeros") and p.grad is not None]
    assert len(grads) == 4
    assert len({tuple(g.tolist()) for g in grads}) > 2


def test_an_embedding_that_is_the_last_layer_too_stays_one():
    text = """net (int64[N] ids) => (float[N, 4] y) {
        e = Gather (table, ids)  t = Transpose (table)  y = MatMul (e, t) }"""
    for table in (RNG.normal(size=(4, 2)).astype(np.float32), np.zeros((4, 2), np.float32)):
        made = model(HEAD + text, {"table": table})
        bridge = untrained(made)
        assert [w.name for w in bridge.weights] == ["table"]
        assert [(f.code, f.node) for f in bridge.findings] == [("DISTILL-TIED", "table")]
        start = snapshot(bridge)
        with torch.no_grad():
            bridge.parameters[0] += 0.5
        assert write_back(made, bridge, start) == ["table"]
        equal(bridge, made, {"ids": np.arange(4)})


def test_a_layer_that_is_applied_twice_keeps_its_bias_whatever_its_numbers():
    text = """net (float[N, 2] x) => (float[N, 2] y) {
        a = Gemm (x, w, zeros)  b = Gemm (a, w, zeros)  c = MatMul (b, w)  d = Add (c, zeros)
        y = Gemm (d, v, zeros) }"""
    bridge = Bridge(model(HEAD + text, {"w": W, "v": V, "zeros": ZEROS}))
    told = {f.code: f.numbers for f in bridge.findings if f.node == "zeros"}
    assert told["DISTILL-UNTIED"] == {"layers": 3}
    assert {w.name for w in bridge.weights} == {"w", "v", "zeros", "zeros_1", "zeros_2"}


def test_learned_numbers_with_several_readers_stay_tied():
    text = "net (float[N, 2] x) => (float[N, 2] y) { a = Gemm (x, w, b)  y = Gemm (a, v, b) }"
    bridge = Bridge(model(HEAD + text, {"w": W, "v": V, "b": np.array([0.1, 0.2], np.float32)}))
    assert [(f.code, f.node) for f in bridge.findings] == [("DISTILL-TIED", "b")]


def test_a_reader_that_is_no_weight_keeps_the_numbers():
    text = """net (float[N, 2] x) => (float[N, 2] y) {
        a = Gemm (x, w, zeros)  p = Greater (a, zeros)  y = Where (p, a, zeros) }"""
    made = model(HEAD + text, {"w": W, "zeros": ZEROS})
    assert trained(made, {"x": X}) == {"w", "zeros_1"}
    np.testing.assert_array_equal(array(made, "zeros"), ZEROS)


def test_statistics_of_two_normalisations_are_followed_apart():
    text = """net (float[N, 2] x) => (float[N, 2] y) {
        a = BatchNormalization (x, ones, zeros, zeros, ones)  r = Relu (a)  b = Gemm (r, w)
        y = BatchNormalization (b, ones, zeros, zeros, ones) }"""
    made = model(HEAD + text, {"w": W, "zeros": ZEROS, "ones": ONES})
    bridge = untrained(made)
    start = snapshot(bridge)
    assert len([w for w in bridge.weights if w.role == "state"]) == 4
    with torch.no_grad():
        bridge.specialise({"x": X}, training=True).run({"x": X})
    assert len(write_back(made, bridge, start)) == 4
    equal(bridge, made, {"x": X})


def test_integer_biases_on_different_grids_learn_apart():
    text = """net (float[N, 2] x) => (float[N, 2] y) <float s = {0.5}, float t = {0.25}> {
        c = DequantizeLinear (b, s)  d = DequantizeLinear (b, t)  a = Gemm (x, w, c)  y = Gemm (a, v, d) }"""
    made = model(HEAD + text, {"w": W, "v": V, "b": np.zeros(2, np.int32)})
    assert {w.name for w in Bridge(made).weights if w.grid is not None} == {"b", "b_1"}
    assert {"b", "b_1"} <= trained(made, {"x": X}, step=0.6)
    assert array(made, "b_1").dtype == np.int32


def test_in_a_file_whose_constants_are_inputs_the_new_one_is_an_input_too():
    made = merged()
    made.ir_version = 3
    made.graph.opset_imports[""] = 17
    for value in made.graph.initializers.values():
        made.graph.inputs.append(value)
    trained(made, {"x": X}, step=0.1)
    assert {v.name for v in made.graph.inputs} == {"x", *made.graph.initializers}
    Session(made).run({"x": X})


@pytest.mark.parametrize("move", ["Transpose", "Relu"])
def test_where_the_way_parts_behind_an_op_layers_stay_tied(move: str):
    text = f"""net (float[N, 2] x) => (float[N, 2] y) {{
        t = {move} (zeros)  a = Gemm (x, w, t)  y = Gemm (a, v, t) }}"""
    bridge = Bridge(model(HEAD + text, {"w": W, "v": V, "zeros": ZEROS}))
    assert not [f for f in bridge.findings if f.code == "DISTILL-UNTIED"]
