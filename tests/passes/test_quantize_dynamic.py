from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx.checker
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.errors import UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.base import Scope
from onnxcompress.passes.quantize_dynamic import QuantizeDynamic
from onnxcompress.quantization_recipe import quantize_entries
from onnxcompress.runtime import Session
from onnxcompress.runtime.dump import optimized_model
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import Target, load_target
from onnxcompress.testing import check_pass, context

RNG = np.random.default_rng(31)
OPTIONS = RuntimeOptions(threads=1)
TEXT = """g (float[N,5,32] x) => (float[N,5,24] y, float[N,5,24] z) {
  y = MatMul(x, w)  v = MatMul(x, w2)  z = Add(v, b) }"""
GEMM = "g (float[N,32] x) => (float[N,24] y) { y = Gemm<alpha=0.5, beta=2.0, transB=1>(x, w, b) }"


def model_of(text: str, sizes: dict[str, tuple[int, ...]]) -> ir.Model:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    arrays = {name: RNG.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return ir.from_proto(proto)


def dynamic(model: ir.Model, target: str | Target = "ort-x86-vnni", **options):
    small = clone(model)
    scope = options.pop("scope", Scope())
    findings = list(QuantizeDynamic(**options).run(small, context(small, target=target, scope=scope)))
    onnx.checker.check_model(ir.to_proto(small), full_check=True)
    return small, findings


def close(model: ir.Model, small: ir.Model, feeds: dict[str, np.ndarray]) -> bool:
    wanted, got = (Session(m, OPTIONS).run(feeds) for m in (model, small))
    return all(np.linalg.norm(wanted[k] - got[k]) < 0.03 * np.linalg.norm(wanted[k]) for k in wanted)


def test_before_and_after() -> None:
    model = model_of(TEXT, {"w": (32, 24), "w2": (32, 24), "b": (24,)})
    small, findings = dynamic(model)
    assert [n.op_type for n in small.graph] == [
        "DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "MatMulInteger", "Cast", "Mul", "Mul", "Add",
    ]  # fmt: skip
    assert findings[-1].numbers == {"nodes": 2}
    assert [v.name for v in small.graph.outputs] == ["y", "z"]
    scale, w = (m.graph.initializers[n].const_value.numpy() for m, n in ((small, "w_scale"), (model, "w")))
    np.testing.assert_allclose(scale, np.abs(w).max(axis=0) / 127, rtol=1e-6)
    assert close(model, small, {"x": RNG.normal(size=(3, 5, 32)).astype(np.float32)})


def test_onnxruntime_runs_each_product_as_one_kernel() -> None:
    small, _ = dynamic(model_of(TEXT, {"w": (32, 24), "w2": (32, 24), "b": (24,)}))
    found = {n.op_type for n in optimized_model(small, OPTIONS).graph}
    assert found & {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} and "MatMulInteger" not in found


@pytest.mark.parametrize("per_channel", [True, False])
def test_gemm_keeps_alpha_beta_and_a_turned_weight(per_channel: bool) -> None:
    model = model_of(GEMM, {"w": (24, 32), "b": (24,)})
    small, _ = dynamic(model, per_channel=per_channel)
    assert close(model, small, {"x": RNG.normal(size=(6, 32)).astype(np.float32) * 100})


def test_what_stays_float_says_why() -> None:
    text = """g (float[N,8,32] x) => (float[N,8,24] y, float[N,8,8] s, float[N,2,8] c) {
      t = Transpose<perm=[0,2,1]>(x)  s = MatMul(x, t)  y = MatMul(x, w)  c = Conv(x, k)  }"""
    model = model_of(text.replace("float[N,2,8] c", "float[N,2,32] c"), {"w": (32, 24), "k": (2, 8, 1)})
    small, findings = dynamic(model, scope=Scope(exclude=("y",)))
    codes = {f.code for f in findings}
    assert codes == {"QUANT-DYNAMIC-WEIGHT", "QUANT-NO-KERNEL", "QUANT-EXCLUDED", "QUANT-DYNAMIC"}
    assert "DynamicQuantizeLinear" not in {n.op_type for n in small.graph}


def test_another_target_is_refused_before_any_edit() -> None:
    with pytest.raises(UsageError, match="not for the target tensorrt"):
        dynamic(model_of(GEMM, {"w": (24, 32), "b": (24,)}), target="tensorrt")


def test_a_target_under_another_name_counts_by_what_it_runs_on() -> None:
    named = replace(load_target("ort-x86-vnni"), name="our-board")
    small, _ = dynamic(model_of(GEMM, {"w": (24, 32), "b": (24,)}), target=named)
    assert "MatMulInteger" in {n.op_type for n in small.graph}


@pytest.mark.ci
def test_quantize_dynamic_owes_what_every_pass_owes() -> None:
    assert check_pass(QuantizeDynamic(), target="ort-x86-vnni").findings["QUANT-DYNAMIC"] > 30


def test_the_command_takes_dynamic_without_calibration_options() -> None:
    assert [name for name, _ in quantize_entries({"dynamic": True}, has_data=False)][-1] == "quantize-dynamic"
    with pytest.raises(UsageError, match="--calibrator does not go with --dynamic"):
        quantize_entries({"dynamic": True, "calibrator": "kl"}, has_data=False)
