from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.errors import ModelError
from onnxcompress.graph import clone
from onnxcompress.passes.base import Scope
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.passes.remove_qdq import RemoveQDQ
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import check_pass, context
from onnxcompress.testing.texts import assert_pass

RNG = np.random.default_rng(3)
OPTIONS = RuntimeOptions(threads=1)
NET = """<ir_version: 8, opset_import: ["": 18]> g (float[N,3,8,8] x) => (float[N,4] y) {
  a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  c = Conv(r, v)  m = GlobalAveragePool(c)  f = Flatten(m)
  y = Gemm<transB=1>(f, u) }"""
SIZES = {"w": (8, 3, 3, 3), "b": (8,), "v": (8, 8, 3, 3), "u": (4, 8)}


def net() -> ir.Model:
    proto = onnx.parser.parse_model(NET)
    arrays = {n: (RNG.normal(size=s) * 0.3).astype(np.float32) for n, s in SIZES.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return ir.from_proto(proto)


def samples() -> dict[str, np.ndarray]:
    return {"x": RNG.normal(size=(16, 3, 8, 8)).astype(np.float32)}


def ran(pass_, model: ir.Model, data=None, **options) -> tuple[ir.Model, set[str]]:
    out = clone(model)
    findings = {f.code for f in pass_.run(out, context(out, data=data, **options))}
    onnx.checker.check_model(ir.to_proto(out), full_check=True)
    return out, findings


def sqnr(model: ir.Model, other: ir.Model, data: dict[str, np.ndarray]) -> float:
    wanted, got = (Session(m, OPTIONS).run(data)["y"].astype(float) for m in (model, other))
    return float(10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum()))


@pytest.mark.parametrize("target", ["ort-x86-vnni", "tensorrt"])
def test_a_quantized_network_becomes_float_and_as_good_as_its_weights(target: str) -> None:
    model, data = net(), samples()
    quantized, _ = ran(InsertQDQ(calibrator="uniform", effort="fast"), model, data, target=target)
    weights, _ = ran(QuantizeWeights(), model)
    floating, findings = ran(RemoveQDQ(), quantized)
    assert findings == {"QDQ-REMOVED"}
    assert not {n.op_type for n in floating.graph} & {"QuantizeLinear", "DequantizeLinear"}
    assert [v.name for v in floating.graph.outputs] == ["y"]
    assert sqnr(model, floating, data) > sqnr(model, quantized, data)
    assert sqnr(model, floating, data) > 0.9 * sqnr(model, weights, data)  # biases were rounded too


def test_it_can_be_quantized_again() -> None:
    model, data = net(), samples()
    quantized, _ = ran(InsertQDQ(), model, data)
    with pytest.raises(ModelError, match="quantized already"):
        ran(InsertQDQ(), quantized, data)
    again, _ = ran(InsertQDQ(), ran(RemoveQDQ(), quantized)[0], data, target="tensorrt")
    assert sqnr(model, again, data) > 25


def test_a_pair_that_did_the_work_of_a_relu_leaves_a_clip() -> None:
    before = """g (float[2,4] x) => (float[2,3] y)
      <int8[4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float s = {0.5}, int8 i = {0}, float t = {0.25}, uint8 z = {0}> {
      d = DequantizeLinear(w, s, i)  h = MatMul(x, d)  q = QuantizeLinear(h, t, z)  y = DequantizeLinear(q, t, z) }"""
    after = """g (float[2,4] x) => (float[2,3] y)
      <float[4,3] d_float = {0.5,1,1.5,2,2.5,3,3.5,4,4.5,5,5.5,6}, float h_low = {0}, float h_high = {63.75}> {
      h = MatMul(x, d_float)  h_clipped = Clip(h, h_low, h_high)  y = Identity(h_clipped) }"""
    assert_pass(before, RemoveQDQ(), after, ["QDQ-REMOVED"])


def test_a_symmetric_pair_leaves_nothing() -> None:
    before = """g (float[2,4] x) => (float[2,4] y) <float s = {0.5}, int8 i = {0}> {
      q = QuantizeLinear(x, s, i)  d = DequantizeLinear(q, s, i)  y = Neg(d) }"""
    assert_pass(before, RemoveQDQ(), "g (float[2,4] x) => (float[2,4] y) { y = Neg(x) }", ["QDQ-REMOVED"])


def test_channels_and_blocks_of_scales() -> None:
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[2,4] x) => (float[2,6] y) {
      a = DequantizeLinear<axis=1>(w, s)  h = MatMul(x, a)
      b = DequantizeLinear<axis=0, block_size=2>(v, t)  k = MatMul(x, b)  y = Add(h, k) }"""
    proto = onnx.parser.parse_model(text)
    arrays = {
        "w": RNG.integers(-9, 9, (4, 6)).astype(np.int8), "s": RNG.uniform(0.1, 1, 6).astype(np.float32),
        "v": RNG.integers(-9, 9, (4, 6)).astype(np.int8), "t": RNG.uniform(0.1, 1, (2, 6)).astype(np.float32),
    }  # fmt: skip
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    model = ir.from_proto(proto)
    floating, _ = ran(RemoveQDQ(), model)
    feeds = {"x": RNG.normal(size=(2, 4)).astype(np.float32)}
    wanted, got = (Session(m, OPTIONS, optimize=False).run(feeds)["y"] for m in (model, floating))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    assert {n.op_type for n in floating.graph} == {"MatMul", "Add"}


def test_a_pair_of_two_scales_stays_and_says_so() -> None:
    before = """g (float[2,4] x) => (float[2,4] y) <float s = {0.5}, float t = {0.25}, int8 i = {0}> {
      q = QuantizeLinear(x, s, i)  y = DequantizeLinear(q, t, i) }"""
    assert_pass(before, RemoveQDQ(), before, ["QDQ-ALONE", "QDQ-ALONE", "QDQ-REMOVED"])


def test_operators_on_integers_are_refused_by_name() -> None:
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[2,4] x, int8[4,6] w) => (int32[2,6] y) {
      q, s, z = DynamicQuantizeLinear(x)  y = MatMulInteger(q, w) }"""
    model = ir.from_onnx_text(text)
    with pytest.raises(ModelError) as refusal:
        list(RemoveQDQ().run(model, context(model)))
    assert "DynamicQuantizeLinear computes on integers" in str(refusal.value)


def test_quantized_twice_by_name_only() -> None:
    model, data = net(), samples()
    once, _ = ran(InsertQDQ(), model, data, scope=Scope(only=("op:Gemm",)))
    twice, _ = ran(InsertQDQ(), once, data, scope=Scope(only=("op:Conv",)))
    assert sqnr(model, twice, data) > 25


def test_what_every_pass_owes() -> None:
    check_pass(RemoveQDQ())
