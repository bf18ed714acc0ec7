"""The rules of OpenVINO and ONNX Runtime, each broken by one model."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.passes.quantization.kernels import kernels
from onnxcompress.passes.quantization.lint import lint, rules_of
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import load_target

OPENVINO, ORT = load_target("openvino"), load_target("ort-x86-vnni")


def model_of(body: str, **arrays: np.ndarray) -> ir.Model:
    proto = onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]> g ' + body)
    scales = {"s": np.array(0.5, np.float32), "u": np.array(0, np.uint8), "i": np.array(0, np.int8)}
    for name, array in {**scales, **arrays}.items():
        if any(name in node.input for node in proto.graph.node):
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return ir.from_proto(proto)


CONV = """(float[1,3,8,8] x) => (float[1,4,6,6] y) {
  q = QuantizeLinear(x, s, u)  d = DequantizeLinear(q, s, u)  e = DequantizeLinear(w, s, wz)  y = Conv(d, e) }"""
PRODUCT = """(float[4,4] x) => (float[4,4] y) {
  q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = MatMul(d, d) }"""
POOL = """(float[1,3,8,8] x) => (float[1,3,7,7] y) {
  q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = MaxPool<kernel_shape=[2,2]>(d) }"""
PAD = """(float[2,2] x) => (float[4,4] y) {
  q = QuantizeLinear(x, s, u)  d = DequantizeLinear(q, s, u)  y = Pad(d, p) }"""
OPENVINO_BREAKS = {
    "LINT-16-BIT": (POOL, {"z": np.array(0, np.uint16)}),
    "LINT-CONV-WEIGHT": (CONV, {"w": np.full((4, 3, 3, 3), 129, np.uint8), "wz": np.array(128, np.uint8)}),
    "LINT-TWO-ACTIVATIONS": (PRODUCT, {"z": np.array(128, np.uint8)}),
    "LINT-PAD": (PAD, {"p": np.ones(4, np.int64)}),
    "LINT-DOMAIN": ("(float[2,2] x) => (float[2,2] y) { y = com.microsoft.QuickGelu(x) }", {}),
}


@pytest.mark.parametrize("code", OPENVINO_BREAKS)
def test_each_rule_of_openvino_finds_the_model_that_breaks_it(code: str) -> None:
    body, arrays = OPENVINO_BREAKS[code]
    assert {f.code for f in lint(model_of(body, **arrays), OPENVINO)} == {code}


def test_every_rule_of_openvino_has_such_a_model() -> None:
    assert {rule.code for rule in rules_of(OPENVINO)} == set(OPENVINO_BREAKS)


def test_openvino_takes_int8_weights_and_signed_products() -> None:
    signed = model_of(CONV, w=np.ones((4, 3, 3, 3), np.int8), wz=np.array(0, np.int8))
    assert lint(signed, OPENVINO) == [] and lint(model_of(PRODUCT, z=np.array(0, np.int8)), OPENVINO) == []


BIASED = """(float[2,4] x) => (float[2,6] y) {
  q = QuantizeLinear(x, s, u)  d = DequantizeLinear(q, s, u)  e = DequantizeLinear(w, s, i)
  b = DequantizeLinear(c, bs)  y = Gemm(d, e, b) }"""


@pytest.mark.parametrize(("scale", "expected"), [(0.25, set()), (0.5, {"LINT-BIAS-SCALE"})])
def test_a_bias_that_gemm_would_read_at_another_scale(scale: float, expected: set[str]) -> None:
    arrays = {"w": np.ones((4, 6), np.int8), "c": np.arange(6, dtype=np.int32), "bs": np.array(scale, np.float32)}
    model = model_of(BIASED, **arrays)
    assert {f.code for f in lint(model, ORT)} == expected
    assert kernels(model, RuntimeOptions(threads=1)).integer == {"QGemm": 1}  # it fuses whatever the scale says


def test_a_gemm_with_another_beta_runs_in_float() -> None:
    body = """(float[2,4] x) => (float[2,6] y) {
      q = QuantizeLinear(x, s, u)  d = DequantizeLinear(q, s, u)  e = DequantizeLinear(w, s, i)
      y = Gemm<beta=2.0>(d, e, b) }"""
    model = model_of(body, w=np.ones((4, 6), np.int8), b=np.ones(6, np.float32))
    assert {f.code for f in lint(model, ORT)} == {"LINT-GEMM-BETA"}
    assert not kernels(model, RuntimeOptions(threads=1)).integer


def test_a_sixteen_bit_weight_of_a_convolution_runs_in_float() -> None:
    model = model_of(CONV, w=np.ones((4, 3, 3, 3), np.int16), wz=np.array(0, np.int16))
    assert {f.code for f in lint(model, ORT)} == {"LINT-CONV-WEIGHT"}


def test_a_target_that_is_no_one_runtime_has_no_rules() -> None:
    assert rules_of(load_target("generic")) == ()
