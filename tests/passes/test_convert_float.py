from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.errors import ModelError, UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.base import Scope
from onnxcompress.passes.convert_float import ConvertFloat
from onnxcompress.quantization_recipe import quantize_entries
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context
from onnxcompress.testing.texts import assert_pass, model_of

OPTIONS = RuntimeOptions(threads=1)
BEFORE = """g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1.0, 2.0, 3.0, 4.0}>
  { h = MatMul(x, w)  r = Relu(h)  y = Softmax(r) }"""
AFTER = """g (float[N,2] x) => (float[N,2] y) <float16[2,2] w_float16 = {15360, 16384, 16896, 17408}>
  { x_float16 = Cast<to=10>(x)  h = MatMul(x_float16, w_float16)  r_float16 = Relu(h)
    r = Cast<to=1>(r_float16)  y = Softmax(r) }"""


def test_casts_stand_where_float16_begins_and_ends() -> None:
    assert_pass(BEFORE, ConvertFloat(), AFTER, ["HALF-DONE"])


def test_what_leaves_the_range_by_a_constant_or_by_the_samples_stays() -> None:
    text = """g (float[N,2] x) => (float[N,2] y) <float[2] big = {1e6, 1.0}, float[2] one = {1.0, 1.0}>
      { h = Mul(x, big)  y = Add(h, one) }"""
    model = model_of(text)
    found = list(ConvertFloat().run(model, context(model)))
    assert [(f.code, f.node) for f in found] == [("HALF-RANGE", "h"), ("HALF-DONE", "")]
    model = model_of(text)
    data = {"x": np.full((4, 2), 10.0, np.float32)}
    found = list(ConvertFloat().run(model, context(model, data=data)))
    assert [f.node for f in found if f.code == "HALF-RANGE"] == ["h", "y"]
    assert found[-1].numbers["nodes"] == 0


def test_recurrent_weights_are_halved_behind_a_cast_and_outputs_keep_their_names() -> None:
    rng = np.random.default_rng(0)
    model = model_of("""g (float[5,2,16] x, float[1,64,16] w, float[1,64,16] r)
      => (float[5,1,2,16] y, float[5,1,2,16] z)
      { y = LSTM<hidden_size=16>(x, w, r)  z = Relu(y) }""")
    for value in list(model.graph.inputs)[1:]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(rng.normal(size=value.shape.numpy()).astype(np.float32), name=value.name)
        model.graph.register_initializer(value)
    half = clone(model)
    list(ConvertFloat().run(half, context(half)))
    assert {v.dtype for v in half.graph.initializers.values()} == {ir.DataType.FLOAT16}
    feeds = {"x": rng.normal(size=(5, 2, 16)).astype(np.float32)}
    wanted, got = (Session(m, OPTIONS).run(feeds) for m in (model, half))
    assert list(got) == list(wanted) == ["y", "z"]
    for name in wanted:
        assert got[name].dtype == np.float32
        np.testing.assert_allclose(got[name], wanted[name], atol=1e-2)


def test_excluded_nodes_stay_and_other_options_are_refused() -> None:
    model = model_of(BEFORE)
    found = list(ConvertFloat().run(model, context(model, scope=Scope(exclude=("op:MatMul",)))))
    assert found[-1].numbers["nodes"] == 1 and model.graph.initializers["w"].dtype == ir.DataType.FLOAT
    assert quantize_entries({"float16": True}, False)[-1] == ("convert-float", {})
    with pytest.raises(UsageError, match="--calibrator does not go with --float16"):
        quantize_entries({"float16": True, "calibrator": "kl"}, True)


def test_bfloat16_is_stored_and_nothing_computes_in_it() -> None:
    rng = np.random.default_rng(1)
    model = model_of("g (float[N,32] x, float[32,64] w) => (float[N,64] y) { h = MatMul(x, w)  y = Relu(h) }")
    value = model.graph.inputs.pop()
    value.const_value = ir.tensor(rng.normal(size=(32, 64)).astype(np.float32) * 1e6, name="w")
    model.graph.register_initializer(value)
    small = clone(model)
    found = list(ConvertFloat(float_type="bfloat16").run(small, context(small)))
    assert [(f.code, f.numbers["constants"]) for f in found] == [("HALF-STORED", 1)]
    assert [v.dtype for v in small.graph.initializers.values()] == [ir.DataType.BFLOAT16]
    assert [n.op_type for n in small.graph] == ["Cast", "MatMul", "Relu"]
    feeds = {"x": rng.normal(size=(5, 32)).astype(np.float32)}
    wanted, got = (Session(m, OPTIONS).run(feeds)["y"] for m in (model, small))
    assert np.linalg.norm(wanted - got) < 4e-3 * np.linalg.norm(wanted)


def test_bfloat16_raises_an_operator_set_that_cannot_say_it() -> None:
    model = model_of(f'<ir_version: 7, opset_import: ["": 12]> {BEFORE}')
    found = list(ConvertFloat(float_type="bfloat16").run(model, context(model)))
    assert [f.code for f in found] == ["QUANT-OPSET", "HALF-STORED"]
    assert model.opset_imports[""] == 13


def test_operator_types_may_be_blocked() -> None:
    model = model_of(BEFORE)
    found = list(ConvertFloat(block_ops=("MatMul", "Conv")).run(model, context(model)))
    assert [(f.code, f.message.split(":")[0]) for f in found[:1]] == [("HALF-NO-NODE", "--block-op Conv")]
    assert found[-1].numbers["nodes"] == 1 and model.graph.initializers["w"].dtype == ir.DataType.FLOAT


def test_nodes_of_bodies_are_counted() -> None:
    model = model_of("""g (float[2] x, bool c) => (float[2] y) {
      h = Relu(x)
      y = If(c) <then_branch = t () => (float[2] a) { a = Add(h, h) },
                 else_branch = e () => (float[2] b) { s = Mul(h, h)  b = Neg(s) }> }""")
    feeds = {"x": np.array([-1, 2], np.float32), "c": np.array(False)}
    wanted = Session(model, OPTIONS).run(feeds)["y"]
    found = list(ConvertFloat().run(model, context(model)))
    assert [f.numbers["nodes"] for f in found if f.code == "HALF-BODY"] == [1, 2]
    np.testing.assert_array_equal(Session(model, OPTIONS).run(feeds)["y"], wanted)


def test_an_option_of_the_pass_means_it() -> None:
    assert quantize_entries({"float_type": "bfloat16"}, False)[-1] == ("convert-float", {"float_type": "bfloat16"})
    with pytest.raises(UsageError, match="--weights does not go with --float16"):
        quantize_entries({"float_type": "bfloat16", "weights": "int4"}, True)


def test_a_quantized_model_is_refused() -> None:
    text = """g (float[N,2] x) => (float[N,2] y) <int8[2,2] q = {1, 2, 3, 4}, float s = {0.5}>
      { w = DequantizeLinear(q, s)  y = MatMul(x, w) }"""
    model = model_of(text)
    with pytest.raises(ModelError, match="quantized already"):
        list(ConvertFloat().run(model, context(model)))


def test_large_constants_of_nodes_are_stored_like_initializers() -> None:
    model = model_of("g (float[N,64] x, float[64,32] w) => (float[N,32] y) { y = MatMul(x, w) }")
    value, product = model.graph.inputs.pop(), model.graph[0]
    constant = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor(np.ones((64, 32), np.float32)))])
    constant.outputs[0].name, constant.outputs[0].type = "w", value.type
    model.graph.insert_before(product, constant)
    product.replace_input_with(1, constant.outputs[0])
    found = list(ConvertFloat(float_type="bfloat16").run(model, context(model)))
    assert found[-1].numbers["constants"] == 1 and [n.op_type for n in model.graph] == ["Cast", "MatMul"]
