"""Which constants count as weights."""

from __future__ import annotations

import numpy as np
from builders.distill_models import model, residual

from onnxcompress.distill.weights import find_weights


def roles(text: str, weights: dict[str, np.ndarray]) -> dict[str, str]:
    return {w.name: w.role for w in find_weights(model(text, weights))[0]}


def f(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def test_a_residual_net():
    found = {w.name: w.role for w in find_weights(residual())[0]}
    assert found["w0"] == "weight"
    assert found["bias2"] == "bias"
    assert found["g0"] == found["b0"] == "norm"
    assert found["m0"] == found["v0"] == "state"
    assert len(found) == 9 + 12


def test_through_ops_that_only_move():
    text = HEAD + "net (float[N, 2] x) => (float[N, 6] y) { t = Transpose (w)  i = Identity (t)  y = MatMul (x, i) }"
    assert roles(text, {"w": f(6, 2)}) == {"w": "weight"}


def test_in_a_constant_node():
    text = (
        HEAD
        + """net (float[N, 2] x) => (float[N, 2] y) {
        w = Constant <value_floats = [1.1, 2.3]> ()  y = Mul (x, w) }"""
    )
    assert roles(text, {}) == {"w": "norm"}


def test_a_scalar_is_none_and_a_position_table_is_one():
    text = (
        HEAD
        + """net (float[N, 3, 2] x) => (float[N, 3, 2] y) {
        a = Mul (x, half)  b = Add (a, table)  y = MatMul (b, w) }"""
    )
    assert roles(text, {"half": f(1), "table": f(3, 2), "w": f(2, 2)}) == {"table": "bias", "w": "weight"}


def test_anchors_behind_the_last_layer_are_none():
    text = (
        HEAD
        + "net (float[N, 3, 2] x) => (float[N, 3, 2] y) { b = MatMul (x, w)  c = Mul (b, sizes)  y = Add (c, anchors) }"
    )
    assert roles(text, {"w": f(2, 2), "anchors": f(3, 2), "sizes": f(3, 2)}) == {"w": "weight"}


def test_embeddings_and_recurrent_layers():
    text = (
        HEAD
        + """net (int64[T, N] ids) => (float[T, 1, N, 2] y) {
        e = Gather (table, ids)  y, h = GRU <hidden_size = 2> (e, w, r, b) }"""
    )
    found = roles(text, {"table": f(5, 3), "w": f(1, 6, 3), "r": f(1, 6, 2), "b": f(1, 12)})
    assert found == {"table": "weight", "w": "weight", "r": "weight", "b": "bias"}


def test_a_shared_constant_is_told():
    text = HEAD + "net (float[N, 2] x) => (float[N, 2] y) { a = Gemm (x, w, b)  y = Gemm (a, v, b) }"
    weights, findings = find_weights(model(text, {"w": f(2, 2), "v": f(2, 2), "b": f(2)}))
    assert [(x.code, x.node) for x in findings] == [("DISTILL-TIED", "b")]
    assert len(weights) == 3


def test_integers_with_unlike_dequantizers_are_left_alone():
    text = (
        HEAD
        + """net (float[N, 2] x) => (float[N, 2] y) <float s = {0.1}, float t = {0.2}> {
        a = DequantizeLinear (w, s)  b = DequantizeLinear (w, t)  c = MatMul (x, a)  y = MatMul (c, b) }"""
    )
    weights, findings = find_weights(model(text, {"w": np.ones((2, 2), np.int8)}))
    assert not weights
    assert [x.code for x in findings] == ["DISTILL-GRID-UNCLEAR"]


FUSED = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1, "my.dom" : 1]>\n'


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_a_class_token_and_the_positions_behind_it_are_learned():
    text = (
        HEAD
        + """net (float[N, 4, 6] x) => (float[N, 5, 3] y) {
        p = MatMul (x, w)  n = Shape <start = 0, end = 1> (x)  size = Concat <axis = 0> (n, one)
        t = Expand (token, size)  c = Concat <axis = 1> (t, p)  a = Add (c, places)  y = MatMul (a, v) }"""
    )
    weights = {"w": random(6, 8), "v": random(8, 3), "token": random(1, 1, 8), "places": random(1, 5, 8)}
    found = roles(text, {**weights, "one": np.ones(2, np.int64)})
    assert found == {"w": "weight", "token": "bias", "places": "bias", "v": "weight"}


def test_strides_masks_and_grids_are_none():
    text = (
        HEAD
        + """net (float[N, 4, 6] x) => (float[N, 4, 4] y) {
        m = MatMul (x, w)  s = Mul (m, strides)  g = Add (s, grid)  y = Add (g, mask) }"""
    )
    mask = np.triu(np.full((4, 4), -1e9, np.float32), 1)
    given = {"strides": np.array([8, 8, 16, 32]), "grid": np.arange(16).reshape(4, 4) + 0.5, "mask": mask}
    found = roles(text + "", {"w": random(6, 4), **{n: a.astype(np.float32) for n, a in given.items()}})
    assert found == {"w": "weight"}


def test_a_table_of_angles_that_is_looked_up_is_none():
    text = (
        HEAD
        + """net (float[N, 5, 4] x, int64[N, 5] p) => (float[N, 5, 4] y) {
        c = Gather (cosines, p)  s = Gather (sines, p)  a = Mul (x, c)  b = Mul (x, s)  y = Add (a, b) }"""
    )
    angles = np.arange(9)[:, None] * np.array([1, 0.1, 0.01, 0.001])[None]
    assert roles(text, {"cosines": np.cos(angles).astype(np.float32), "sines": np.sin(angles).astype(np.float32)}) == {}
    assert roles(text, {"cosines": random(9, 4), "sines": random(9, 4)}) == {"cosines": "weight", "sines": "weight"}


def test_a_single_number_is_one_where_an_operator_learns_it():
    text = HEAD + """net (float[N, 6] x) => (float[N, 1] y) { h = PRelu (x, slope)  y = Gemm (h, w, b) }"""
    assert roles(text, {"slope": f(1), "w": f(6, 1), "b": f(1)}) == {"slope": "weight", "w": "weight", "b": "bias"}


def test_fused_operators_and_those_of_another_domain():
    text = (
        FUSED
        + """net (float[N, 4, 6] x) => (float[N, 4, 6] y) {
        h = com.microsoft.FusedMatMul (x, w)  s = com.microsoft.SkipLayerNormalization (h, x, g, b, c)
        y = my.dom.Attention (s, foreign, foreign) }"""
    )
    weights = {"w": random(6, 6), "g": random(6), "b": random(6), "c": random(6), "foreign": random(6, 6)}
    assert roles(text, weights) == {"w": "weight", "g": "norm", "b": "norm", "c": "bias"}


def test_an_empty_constant_is_none():
    text = HEAD + "net (float[N, 3] x) => (float[0, 3] y) { h = MatMul (x, w)  y = Add (h, nothing) }"
    assert roles(text, {"w": random(3, 3), "nothing": np.zeros((0, 3), np.float32)}) == {"w": "weight"}
