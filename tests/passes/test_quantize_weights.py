from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress import model_io
from onnxcompress.graph import clone
from onnxcompress.passes.base import Scope
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context

RNG = np.random.default_rng(4)
OPTIONS = RuntimeOptions(threads=1)
CASES = {
    "conv": ("g (float[N,8,9,9] x) => (float[N,16,7,7] y) { y = Conv(x, w) }", (16, 8, 3, 3), (2, 8, 9, 9)),
    "grouped": ("g (float[N,8,9,9] x) => (float[N,32,7,7] y) { y = Conv<group=4>(x, w) }", (32, 2, 3, 3), (2, 8, 9, 9)),
    "transposed": ("g (float[N,8,5,5] x) => (float[N,16,7,7] y) { y = ConvTranspose(x, w) }", (8, 16, 3, 3), (2, 8, 5, 5)),  # noqa: E501
    "matmul": ("g (float[N,32] x) => (float[N,64] y) { y = MatMul(x, w) }", (32, 64), (3, 32)),
    "gemm": ("g (float[N,32] x) => (float[N,64] y) { y = Gemm<transB=1>(x, w) }", (64, 32), (3, 32)),
    "table": ("g (int64[N] x) => (float[N,32] y) { y = Gather(w, x) }", (50, 32), None),
    "lstm": (
        "g (float[5,2,16] x) => (float[5,2,2,8] y) { y = LSTM<hidden_size=8, direction=\"bidirectional\">(x, w, r) }",
        (2, 32, 16),
        (5, 2, 16),
    ),
}  # fmt: skip


def model_of(case: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    text, size, shape = CASES[case]
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    rows = 0 if case in ("table", "lstm") else RNG.normal(size=(size[0],) + (1,) * (len(size) - 1))
    arrays = {"w": RNG.normal(size=size) * np.exp(rows)}
    if case == "lstm":
        arrays = {"w": 0.3 * arrays["w"], "r": 0.3 * RNG.normal(size=(2, 32, 8))}
    proto.graph.initializer.extend(numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items())
    x = np.arange(7) * 7 if shape is None else RNG.normal(size=shape).astype(np.float32)
    return ir.from_proto(proto), {"x": x}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("clip", ["none", "mse"])
def test_the_file_shrinks_and_the_numbers_stay_close(case: str, clip: str) -> None:
    model, feeds = model_of(case)
    small = clone(model)
    findings = list(QuantizeWeights(clip=clip).run(small, context(small)))
    assert findings[-1].numbers["weights"] == (2 if case == "lstm" else 1)
    assert len(model_io.to_bytes(small)) < len(model_io.to_bytes(model)) and "w" not in small.graph.initializers
    wanted, got = (Session(m, OPTIONS).run(feeds)["y"] for m in (model, small))
    assert np.linalg.norm(wanted - got) <= 0.05 * np.linalg.norm(wanted)


def test_the_error_is_at_most_half_a_step_in_each_channel() -> None:
    model, _ = model_of("conv")
    weight = model.graph.initializers["w"].const_value.numpy()
    small = clone(model)
    list(QuantizeWeights().run(small, context(small)))
    parts = {k: v.const_value.numpy() for k, v in small.graph.initializers.items()}
    scale = parts["w_scale"].reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(scale[:, 0, 0, 0], np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=1e-6)
    assert np.all(np.abs(parts["w_quantized"] * scale - weight) <= scale * 0.5001)


def test_a_table_is_gathered_as_integers() -> None:
    model, _ = model_of("table")
    list(QuantizeWeights().run(model, context(model)))
    assert [n.op_type for n in model.graph] == ["Gather", "DequantizeLinear"]
    assert [v.name for v in model.graph.outputs] == ["y"]
    assert model.graph[0].inputs[0].dtype == ir.DataType.INT8


def test_small_weights_excluded_ones_and_bodies_stay_with_a_reason() -> None:
    text = """g (float[N,4] x, bool k) => (float[N,4] y) { h = MatMul(x, w)
      y = If (k) <then_branch = t () => (float[N,4] a) { a = MatMul(h, w) },
                  else_branch = e () => (float[N,4] b) { b = Identity(h) }> }"""
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4), np.float32), "w"))
    model = ir.from_proto(proto)
    codes = {f.code for f in QuantizeWeights().run(model, context(model))}
    assert codes == {"QUANT-SMALL", "QUANT-BODY", "QUANT-WEIGHTS"}
    model, _ = model_of("conv")
    findings = list(QuantizeWeights().run(model, context(model, scope=Scope(exclude=("op:Conv",)))))
    assert [f.code for f in findings] == ["QUANT-EXCLUDED", "QUANT-WEIGHTS"] and "w" in model.graph.initializers


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_stays_float(number: float) -> None:
    model, feeds = model_of("conv")
    weight = model.graph.initializers["w"].const_value.numpy().copy()
    weight[3, 2, 1, 1] = number
    model.graph.initializers["w"].const_value = ir.tensor(weight, name="w")
    wanted = Session(model, OPTIONS).run(feeds)["y"]
    findings = list(QuantizeWeights().run(model, context(model)))
    assert "QUANT-NOT-FINITE" in {f.code for f in findings}
    np.testing.assert_array_equal(Session(model, OPTIONS).run(feeds)["y"], wanted)


ROWS = """g (float[5,2,16] x) => (float[5,2,2,8] y) {
  y = LSTM<hidden_size=8, direction="bidirectional">(x, w, r) }"""


def recurrent() -> ir.Model:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + ROWS)
    sizes = {"w": (2, 32, 16), "r": (2, 32, 8)}
    rows = np.exp(RNG.normal(size=(2, 32, 1)) * 2)  # rows and directions of very different size
    arrays = {name: (RNG.normal(size=size) * rows).astype(np.float32) for name, size in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return ir.from_proto(proto)


def test_recurrent_weights_have_a_scale_for_each_direction_and_row() -> None:
    model, whole = recurrent(), recurrent()
    w = model.graph.initializers["w"].const_value.numpy()
    list(QuantizeWeights().run(model, context(model, target="ort-cpu")))
    assert [n.op_type for n in model.graph] == ["Cast", "Mul", "Cast", "Mul", "LSTM"]
    scale = model.graph.initializers["w_scale"].const_value.numpy()
    np.testing.assert_allclose(scale, np.abs(w).max(axis=2, keepdims=True) / 127, rtol=1e-6)
    model = recurrent()
    whole = {k: v.const_value.numpy() for k, v in model.graph.initializers.items()}
    list(QuantizeWeights().run(model, context(model, target="generic")))
    ops = [n.op_type for n in model.graph]
    assert ops == ["DequantizeLinear", "Reshape", "DequantizeLinear", "Reshape", "LSTM"]
    scale = model.graph.initializers["w_scale"].const_value.numpy()
    np.testing.assert_allclose(scale, np.abs(whole["w"]).max(axis=2).reshape(-1) / 127, rtol=1e-6)
