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
        w = Constant <value_floats = [1.0, 2.0]> ()  y = Mul (x, w) }"""
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
