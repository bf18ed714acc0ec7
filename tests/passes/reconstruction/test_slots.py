"""Weights behind other nodes, and weights that others read too."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from onnxcompress import graph
from onnxcompress.passes.reconstruction.form import Linear
from onnxcompress.passes.reconstruction.linear import linear_of
from onnxcompress.runtime import Session

W = np.arange(12, dtype=np.float32).reshape(3, 4)
NEW = np.array([[3.0, -1, 2, 0.5], [1, 0, 0, 4], [-2, 5, 1, 1]])


def _model(body: str, w: np.ndarray = W) -> ir.Model:
    proto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x) => (float[N,4] y) {{ {body} }}'
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(w, "w"))
    return ir.from_proto(proto)


def _product(model: ir.Model) -> Linear:
    found = [linear_of(n, i, shared=True) for i, n in enumerate(model.graph) if n.op_type == "MatMul"]
    assert isinstance(found[0], Linear)
    return found[0]


@pytest.mark.parametrize(
    ("body", "w"),
    [
        ("t = Transpose(w) y = MatMul(x, t)", W.T.copy()),
        ("t = Transpose<perm=[1,0]>(w) i = Identity(t) y = MatMul(x, i)", W.T.copy()),
        ("c = Cast<to=1>(w) y = MatMul(x, c)", W.astype(np.float16)),
        ("y = MatMul(x, w)", W),
    ],
    ids=["transposed", "transposed and named anew", "half", "plain"],
)
def test_numbers_are_read_and_written_through_what_lies_between(body, w):
    model = _model(body, w)
    linear = _product(model)
    assert np.array_equal(linear.matrix()[0], W)
    linear.store(NEW[None])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(Session(model).run({"x": x})["y"], x @ NEW.astype(np.float32), rtol=1e-5)
    assert graph.array_of(model.graph.initializers["w"]).dtype == w.dtype
    assert list(model.graph.initializers) == ["w"]


def test_a_constant_node_keeps_its_place():
    model = _model("k = Constant<value_floats=[1.0,2.0,3.0]>() s = Mul(x, k) y = MatMul(s, w)")
    _product(model).store(NEW[None])
    assert [n.op_type for n in model.graph] == ["Constant", "Mul", "MatMul"]


def test_a_weight_that_others_read_is_copied():
    model = _model("a = MatMul(x, w) b = Gemm(x, w) y = Add(a, b)")
    assert linear_of(next(iter(model.graph)), 0) == "its weight has several readers"
    _product(model).store(NEW[None])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = x @ (NEW + W).astype(np.float32)
    np.testing.assert_allclose(Session(model).run({"x": x})["y"], expected, rtol=1e-4)


def test_a_weight_that_is_an_input_is_none():
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N,3] x, float[3,4] w) => (float[N,4] y) { y = Gemm(x, w) }'
    )
    assert linear_of(next(iter(ir.from_proto(proto).graph)), 0) == "its weight is not a constant"
