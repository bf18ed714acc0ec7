from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.errors import UsageError
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
