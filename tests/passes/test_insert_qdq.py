from __future__ import annotations

import numpy as np
import onnx
import onnx.checker
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress import verify
from onnxcompress.data import ArraySource
from onnxcompress.errors import DataError, ModelError, UsageError
from onnxcompress.graph import clone, iter_nodes
from onnxcompress.passes.base import Scope
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.coverage import quantized_share
from onnxcompress.passes.quantization.kernels import kernels
from onnxcompress.passes.quantization.lint import lint
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import load_target
from onnxcompress.testing import context

RNG = np.random.default_rng(11)
OPTIONS = RuntimeOptions(threads=1)
RESNET = """g (float[N,3,12,12] x) => (float[N,10] y) {
  c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1]>(r1, w2, b2)  a = Add(c2, r1)  r2 = Relu(a)
  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r2)
  c3 = Conv<pads=[1,1,1,1], group=16>(p, w3, b3)  r3 = Relu(c3)
  m = GlobalAveragePool(r3)  f = Flatten(m)  y = Gemm<transB=1>(f, w4, b4) }"""
SIZES = {
    "w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (16, 1, 3, 3), "b3": (16,),
    "w4": (10, 16), "b4": (10,),
}  # fmt: skip


def model_of(text: str, sizes: dict[str, tuple[int, ...]], opset: int = 18, kind: type = np.float32) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]>' + text)
    arrays = {name: (RNG.normal(size=size) * 0.3).astype(kind) for name, size in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return ir.from_proto(proto)


def samples(*shape: int, count: int = 12, kind: type = np.float32) -> dict[str, np.ndarray]:
    return {"x": RNG.normal(size=(count, *shape)).astype(kind)}


def quantize(model: ir.Model, data: dict[str, np.ndarray], target: str = "ort-x86-vnni", **options):
    scope = options.pop("scope", Scope())
    quantized = clone(model)
    options.setdefault("effort", "fast")  # these tests hold the placement; what a default run adds has its own
    findings = list(InsertQDQ(**options).run(quantized, context(quantized, data=data, target=target, scope=scope)))
    onnx.checker.check_model(ir.to_proto(quantized), full_check=True)
    return quantized, findings


def sqnr(model: ir.Model, quantized: ir.Model, data: dict[str, np.ndarray]) -> float:
    wanted, got = (next(iter(Session(m, OPTIONS).run(data).values())).astype(float) for m in (model, quantized))
    return float(10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum()))


def pairs(model: ir.Model) -> set[str]:
    return {n.inputs[0].name for n in model.graph if n.op_type == "QuantizeLinear"}


def codes(findings) -> set[str]:
    return {f.code for f in findings}


def test_ort_every_product_addition_and_pool_becomes_an_integer_kernel() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    quantized, findings = quantize(model, data)
    found = kernels(quantized, OPTIONS)
    expected = {"QLinearConv": 3, "QLinearAdd": 1, "QGemm": 1, "QLinearGlobalAveragePool": 1}
    assert {k: found.integer[k] for k in expected} == expected and not found.floating
    assert pairs(quantized) == {"x", "r1", "c2", "r2", "p", "r3", "m", "f"}
    assert quantized_share(quantized) == 1.0 and sqnr(model, quantized, data) > 25
    assert codes(findings) == {"QUANT-DONE", "QUANT-KERNELS"}


def test_names_of_tensors_stay_and_float_weights_are_gone() -> None:
    model = model_of(RESNET, SIZES)
    quantized, _ = quantize(model, samples(3, 12, 12))
    names = {o.name for node in quantized.graph for o in node.outputs}
    assert {o.name for node in model.graph for o in node.outputs} <= names
    assert {"x_quantized", "x_dequantized", "w1_dequantized"} <= names
    assert not set(SIZES) & set(quantized.graph.initializers)
    weight = quantized.graph.initializers["w1_quantized"].const_value.numpy()
    assert weight.dtype == np.int8 and weight.min() >= -127


def test_ort_bias_is_int32_at_exactly_the_product_of_the_scales() -> None:
    quantized, _ = quantize(model_of(RESNET, SIZES), samples(3, 12, 12))
    constants = {k: v.const_value.numpy() for k, v in quantized.graph.initializers.items()}
    assert constants["b1_quantized"].dtype == np.int32
    product = (constants["x_scale"] * constants["w1_scale"]).astype(np.float32)
    np.testing.assert_array_equal(constants["b1_scale"], product)


def test_ort_a_dead_channel_with_a_large_bias_raises_its_weight_scale() -> None:
    model = model_of(RESNET, SIZES)
    weight = model.graph.initializers["w1"].const_value.numpy().copy()
    weight[0] *= 1e-9
    bias = model.graph.initializers["b1"].const_value.numpy().copy()
    bias[0] = 3.0
    for name, array in (("w1", weight), ("b1", bias)):
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    quantized, _ = quantize(model, samples(3, 12, 12))
    constants = {k: v.const_value.numpy() for k, v in quantized.graph.initializers.items()}
    np.testing.assert_allclose(constants["b1_quantized"] * constants["b1_scale"].astype(float), bias, atol=2e-4)


@pytest.mark.parametrize("shape", [(16, 1), (1, 16), (16,), (1,), ()])
@pytest.mark.parametrize("effort", ["fast", "default", "best"])
def test_a_gemm_bias_of_any_shape_is_added_where_it_was(shape: tuple[int, ...], effort: str) -> None:
    body = "g (float[16,32] x) => (float[16,16] y) { c = Gemm(x, w, b)  r = Relu(c)  y = Gemm(r, v) }"
    model, data = model_of(body, {"w": (32, 16), "b": shape, "v": (16, 16)}), samples(32, count=64)
    model.graph.initializers["b"].const_value = ir.tensor(
        np.linspace(4, -4, int(np.prod(shape)), dtype=np.float32).reshape(shape), name="b"
    )
    quantized, _ = quantize(model, data, effort=effort)
    assert sqnr(model, quantized, {"x": data["x"][:16]}) > 25


def test_one_scale_for_a_whole_weight_gives_one_to_its_bias() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    quantized, _ = quantize(model, data, per_channel=False)
    constants = {k: v.const_value.numpy() for k, v in quantized.graph.initializers.items()}
    assert constants["b1_quantized"].shape == (16,) and constants["b1_scale"].shape == ()
    np.testing.assert_array_equal(constants["b1_scale"], constants["x_scale"] * constants["w1_scale"])
    assert sqnr(model, quantized, data) > 20


def test_a_product_of_two_constants_is_left_to_normalize() -> None:
    text = "g (float[N,8] x) => (float[N,8] y) { s = MatMul(w, w) h = MatMul(x, s) y = MatMul(h, w) }"
    quantized, findings = quantize(model_of(text, {"w": (8, 8)}), samples(8))
    assert "QUANT-CONSTANT" in codes(findings) and pairs(quantized) == {"x", "s", "h"}


def test_movement_shares_the_scale_of_what_it_moves() -> None:
    quantized, _ = quantize(model_of(RESNET, SIZES), samples(3, 12, 12))
    scale_of = {n.inputs[0].name: n.inputs[1].name for n in quantized.graph if n.op_type == "QuantizeLinear"}
    assert scale_of["p"] == scale_of["r2"] and scale_of["f"] == scale_of["m"] and scale_of["r1"] != scale_of["r2"]


def test_tensorrt_pairs_stand_on_inputs_and_on_the_skip_only() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    quantized, _ = quantize(model, data, "tensorrt")
    assert pairs(quantized) == {"x", "r1", "r2", "p", "r3"}  # the pool reads integers; the Gemm is too small
    add = next(n for n in quantized.graph if n.op_type == "Add")
    assert [v.name for v in add.inputs] == ["c2", "r1_dequantized"]
    assert "b1" in quantized.graph.initializers
    zeros = [v.const_value.numpy() for k, v in quantized.graph.initializers.items() if k.endswith("zero_point")]
    assert all(z.dtype == np.int8 and not z.any() for z in zeros)
    assert lint(quantized, load_target("tensorrt")) == [] and sqnr(model, quantized, data) > 25


def test_tensorrt_concat_shares_one_scale() -> None:
    text = """g (float[N,16,8,8] x) => (float[N,16,8,8] y) {
      a = Conv<pads=[1,1,1,1]>(x, w1)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, w2)  d = Concat<axis=1>(b, c)
      y = Conv<pads=[1,1,1,1]>(d, w3) }"""
    sizes = {"w1": (16, 16, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 32, 3, 3)}
    quantized, _ = quantize(model_of(text, sizes), samples(16, 8, 8), "tensorrt")
    scale_of = {n.inputs[0].name: n.inputs[1].name for n in quantized.graph if n.op_type == "QuantizeLinear"}
    assert set(scale_of) == {"x", "b", "d"} and scale_of["b"] == scale_of["d"]


def test_lint_names_what_tensorrt_refuses() -> None:
    quantized, _ = quantize(model_of(RESNET, SIZES), samples(3, 12, 12))
    found = lint(quantized, load_target("tensorrt"))
    assert {"LINT-TYPE", "LINT-ZERO-POINT"} <= codes(found) and all(f.node for f in found)
    assert lint(quantized, load_target("ort-x86-vnni")) == []


def test_a_convolution_that_makes_the_output_still_writes_integers() -> None:
    text = "g (float[N,3,8,8] x) => (float[N,8,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    model, data = model_of(text, {"w": (8, 3, 3, 3)}), samples(3, 8, 8)
    quantized, _ = quantize(model, data)
    assert [v.name for v in quantized.graph.outputs] == ["y"] and pairs(quantized) == {"x", "y_float"}
    assert kernels(quantized, OPTIONS).integer == {"QLinearConv": 1} and sqnr(model, quantized, data) > 30


def test_gates_run_on_integers_and_normalization_stays_float() -> None:
    text = """g (float[N,4,32] x) => (float[N,4,32] y) {
      n = LayerNormalization(x, s)  h = MatMul(n, w1)  g = Sigmoid(h)
      m = Mul(h, g)  o = MatMul(m, w2)  y = Add(o, x) }"""
    model, data = model_of(text, {"s": (32,), "w1": (32, 32), "w2": (32, 32)}), samples(4, 32)
    quantized, _ = quantize(model, data)
    assert pairs(quantized) == {"n", "h", "g", "m"}
    expected = {"MatMulIntegerToFloat": 1, "QLinearMatMul": 1, "QLinearMul": 1, "QLinearSigmoid": 1}
    assert kernels(quantized, OPTIONS).integer == expected and sqnr(model, quantized, data) > 25


def test_old_operator_sets_are_raised_with_names_kept() -> None:
    text = "g (float[N,3,8,8] x) => (float[N,8,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }"
    model, data = model_of(text, {"w": (8, 3, 3, 3)}, opset=9), samples(3, 8, 8)
    quantized, findings = quantize(model, data)
    assert quantized.graph.opset_imports[""] == 13 and "QUANT-OPSET" in codes(findings)
    assert [v.name for v in quantized.graph.inputs] == ["x"] and sqnr(model, quantized, data) > 30


def test_old_models_that_must_list_their_weights_are_raised_too() -> None:
    text = "g (float[N,3,8,8] x, float[8,3,3,3] w) => (float[N,8,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }"
    model = model_of(text, {"w": (8, 3, 3, 3)}, opset=9)
    model.ir_version = 3
    quantized, findings = quantize(model, samples(3, 8, 8))
    assert [v.name for v in quantized.graph.inputs] == ["x", "w"] and "QUANT-DYNAMIC-WEIGHT" in codes(findings)


def test_float16_models_keep_their_type() -> None:
    text = "g (float16[N,3,8,8] x) => (float16[N,8,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }"
    model = model_of(text, {"w": (8, 3, 3, 3)}, kind=np.float16)
    quantized, _ = quantize(model, data := samples(3, 8, 8, kind=np.float16))
    assert quantized.graph.initializers["x_scale"].const_value.dtype == ir.DataType.FLOAT16
    assert sqnr(model, quantized, data) > 30


def test_what_is_quantized_already_is_refused_but_for_nodes_asked_for_by_name() -> None:
    once, _ = quantize(model_of(RESNET, SIZES), data := samples(3, 12, 12))
    before = ir.to_proto(once).SerializeToString(deterministic=True)
    with pytest.raises(ModelError, match="quantized already") as refusal:
        quantize(once, data)
    assert refusal.value.code == "QUANT-ALREADY" and "--requantize" in refusal.value.hint
    twice, findings = quantize(once, data, scope=Scope(only=("op:Gemm",)))
    assert ir.to_proto(twice).SerializeToString(deterministic=True) == before
    assert {"QUANT-ALREADY", "QUANT-NOTHING"} <= codes(findings)


def test_excluded_nodes_and_bodies_are_named() -> None:
    text = """g (float[N,8] x, bool k) => (float[N,8] y) {
      h = MatMul(x, w)
      y = If (k) <then_branch = t () => (float[N,8] a) { a = MatMul(h, v) },
                  else_branch = e () => (float[N,8] b) { b = Identity(h) }> }"""
    model = model_of(text, {"w": (8, 8), "v": (8, 8)})
    data = {**samples(8), "k": np.ones(12, bool)}
    _, findings = quantize(model, data)
    assert "QUANT-BODY" in codes(findings)
    _, findings = quantize(model, data, scope=Scope(exclude=("op:MatMul",)))
    assert {"QUANT-EXCLUDED", "QUANT-NOTHING"} <= codes(findings)


@pytest.mark.parametrize(
    ("body", "sizes", "code"),
    [
        ("k = MatMul(x, x2) y = ConvTranspose(x, w)", {"w": (4, 4, 3, 3)}, "QUANT-NO-KERNEL"),
        ("v = Mul(w, s) y = Conv(x, v) k = Identity(x)", {"w": (4, 4, 1, 1)}, "QUANT-DYNAMIC-WEIGHT"),
    ],
)
def test_reasons(body: str, sizes: dict[str, tuple[int, ...]], code: str) -> None:
    text = f"g (float[N,4,8,8] x, float[N,4,8,8] x2, float[1] s) => (y, k) {{ {body} }}"
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    proto = onnx.shape_inference.infer_shapes(proto)
    for output in proto.graph.output:
        output.type.tensor_type.elem_type = 1
    proto.graph.initializer.extend(
        numpy_helper.from_array(RNG.normal(size=size).astype(np.float32), name) for name, size in sizes.items()
    )
    x = RNG.normal(size=(6, 4, 8, 8)).astype(np.float32)
    model = ir.from_proto(proto)
    data = {"x": x, "x2": x, "s": np.ones((6, 1), np.float32)}
    assert code in codes(InsertQDQ().run(model, context(model, data=data)))


def test_an_island_stays_float_and_its_weights_are_int8_where_the_outputs_bear_it() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12, count=60)
    quantized, findings = quantize(model, data, islands="1", effort="default")
    island = next(f for f in findings if f.code == "QUANT-ISLAND-TENSOR")
    assert island.node not in pairs(quantized) and island.numbers["sensitivity"] > 0
    told = codes(findings) & {"QUANT-WEIGHTS", "QUANT-INEXACT"}  # int8 where the outputs bear it
    assert told and (told == {"QUANT-INEXACT"} or sqnr(model, quantized, data) > 20)


def test_the_most_sensitive_tensor_is_the_one_in_which_channels_of_two_ranges_meet() -> None:
    """Channel 0 is a thousand times the others and meets a weight of a thousandth: float is fine, int8 is not."""
    text = """g (float[N,16] x) => (float[N,8] y) {
      h = MatMul(x, w1)  s = Mul(h, big)  z = MatMul(s, w2)  t = Relu(z)  y = MatMul(t, w3) }"""
    model = model_of(text, {"w1": (16, 16), "big": (16,), "w2": (16, 256), "w3": (256, 8)})
    big = np.ones(16, np.float32)
    big[0] = 3000.0
    weight = model.graph.initializers["w2"].const_value.numpy().copy()
    weight[0] /= 3000.0
    for name, array in (("big", big), ("w2", weight)):
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    data = samples(16, count=64)
    without, _ = quantize(model, data, islands="0", calibrator="uniform")
    forced, findings = quantize(model, data, islands="1", effort="default", calibrator="uniform")
    assert [f.node for f in findings if f.code == "QUANT-ISLAND-TENSOR"] == ["s"]
    assert sqnr(model, forced, data) > sqnr(model, without, data) + 10


def test_same_input_same_bytes() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    first, second = (ir.to_proto(quantize(model, data)[0]).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_a_shared_weight_and_a_constant_node_are_quantized_once() -> None:
    text = """g (float[N,8] x) => (float[N,8] y) { a = MatMul(x, w) b = Relu(a) c = MatMul(b, w) y = Relu(c) }"""
    model, data = model_of(text, {"w": (8, 8)}), samples(8)
    quantized, _ = quantize(model, data)
    assert sum(k.startswith("w_quantized") for k in quantized.graph.initializers) == 1
    assert sqnr(model, quantized, data) > 30


def test_nan_is_refused() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    data["x"][:] = np.nan
    with pytest.raises(DataError, match="tensor"):
        quantize(model, data)


def test_other_nodes_are_untouched() -> None:
    model = model_of(RESNET, SIZES)
    quantized, _ = quantize(model, samples(3, 12, 12))
    kinds = [n.op_type for n in iter_nodes(quantized) if "Linear" not in n.op_type]
    assert kinds == [n.op_type for n in iter_nodes(model)]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_stays_float(number: float) -> None:
    model = model_of(
        "g (float[N,8] x) => (float[N,8] y) { h = MatMul(x, v) y = MatMul(x, w) }", {"v": (8, 8), "w": (8, 8)}
    )
    weight = model.graph.initializers["v"].const_value.numpy().copy()
    weight[3, 4] = number
    model.graph.initializers["v"].const_value = ir.tensor(weight, name="v")
    quantized, findings = quantize(model, samples(8))
    assert {"QUANT-NOT-FINITE", "QUANT-DONE"} <= codes(findings)
    assert not np.isfinite(quantized.graph.initializers["v"].const_value.numpy()).all()


def test_a_bias_that_is_not_finite_stays_float() -> None:
    model = model_of("g (float[N,8] x) => (float[N,8] y) { y = Gemm(x, w, b) }", {"w": (8, 8), "b": (8,)})
    bias = np.array([1, np.nan, np.inf, 0, 0, 0, 0, 0], np.float32)
    model.graph.initializers["b"].const_value = ir.tensor(bias, name="b")
    quantized, _ = quantize(model, samples(8))
    assert np.array_equal(quantized.graph.initializers["b"].const_value.numpy(), bias, equal_nan=True)


def test_a_weight_too_small_for_a_scale_stays_float() -> None:
    text = "g (float[N,8] x) => (float[N,8] y) { a = Mul(x, k)  y = MatMul(a, w) }"
    model = model_of(text, {"k": (1,), "w": (8, 8)})
    for name, factor in (("k", 1e25), ("w", 1e-25)):
        array = model.graph.initializers[name].const_value.numpy() * np.float32(factor)
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    quantized, findings = quantize(model, samples(8))
    kept = [m.graph.initializers["w"].const_value.numpy() for m in (model, quantized)]
    assert codes(findings) == {"QUANT-TINY", "QUANT-NOTHING"} and np.array_equal(*kept)


def test_a_weight_without_elements_stays() -> None:
    text = "g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, v) y = MatMul(h, w) }"
    _, findings = quantize(model_of(text, {"v": (8, 0), "w": (0, 4)}), samples(8))
    assert codes(findings) == {"QUANT-SMALL", "QUANT-NOTHING"}


def test_a_factor_that_callers_may_override_is_left_float() -> None:
    text = "g (float[N,8] x, float[8,8] w) => (float[N,8] y) { h = MatMul(x, v) y = MatMul(h, w) }"
    quantized, findings = quantize(model_of(text, {"v": (8, 8), "w": (8, 8)}), samples(8))
    assert "QUANT-DYNAMIC-WEIGHT" in codes(findings) and pairs(quantized) == {"x"}


def test_outputs_that_hold_no_numbers_do_not_hinder_the_search_for_islands() -> None:
    text = """g (float[N,8] x, string[N] s) => (float[N,8] y, string[N] t, seq(float[N,1]) q) {
      h = MatMul(x, v) r = Relu(h) y = MatMul(r, w) t = Identity(s) q = SplitToSequence<axis=1, keepdims=1>(r) }"""
    data = {**samples(8), "s": np.array(["a"] * 12, object)}
    _, findings = quantize(model_of(text, {"v": (8, 8), "w": (8, 8)}), data, effort="default", islands="1")
    assert {"QUANT-DONE", "QUANT-ISLAND-TENSOR"} <= codes(findings)


def test_a_node_that_onnx_runtime_lacks_keeps_the_names_of_its_inputs() -> None:
    text = """g (float[N,4,8,8] x) => (float[N,3,6,6] y) {
      c = Conv<pads=[1,1,1,1]>(x, v) p = MaxPool<kernel_shape=[1,1]>(c)
      q = acme.Foo(p) d = Conv(c, w) y = Add(d, q) }"""
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18, "acme": 1]>' + text)
    sizes = {"v": (8, 4, 3, 3), "w": (3, 8, 3, 3)}
    for name, size in sizes.items():
        proto.graph.initializer.append(numpy_helper.from_array(RNG.normal(size=size).astype(np.float32), name))
    model, data = ir.from_proto(proto), samples(4, 8, 8)
    quantized, findings = quantize(model, data)
    foreign = [next(n for n in ir.to_proto(m).graph.node if n.domain == "acme") for m in (model, quantized)]
    assert foreign[0].SerializeToString() == foreign[1].SerializeToString()
    assert "QUANT-DONE" in codes(findings)
    assert verify.compare(model, quantized, ArraySource(data), options=OPTIONS).sqnr_db > 20


def test_a_recurrent_node_that_stays_float_is_named() -> None:
    text = """g (float[T,N,8] x) => (float[N,1,4] y) {
      s, h = GRU<hidden_size=16>(x, w, r)  t = Transpose<perm=[1,0,2]>(h)  y = MatMul(t, m) }"""
    model = model_of(text, {"w": (1, 48, 8), "r": (1, 48, 16), "m": (16, 4)})
    _, findings = quantize(model, {"x": RNG.normal(size=(5, 12, 8)).astype(np.float32)})
    told = [f.message for f in findings if f.code == "QUANT-NO-KERNEL" and f.message.startswith("GRU left float")]
    assert len(told) == 1
    assert told[0].endswith("its weights are stored as int8")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        *(({"calibrator": "histogram", "percentile": p}, "percentile .* out of range") for p in (0.0, -1.0, 101.0)),
        ({"percentile": 99.0}, "no effect: only the calibrator histogram reads it, and this one is auto"),
        ({"percentile": 99.0, "calibrator": "kl"}, "this one is kl. Give --calibrator histogram too"),
        ({"islands": "many"}, "islands: 'many' is neither a number nor auto"),
        ({"islands": "-1"}, "islands"),
    ],
)
def test_options_out_of_range_or_without_effect_are_refused_before_any_work(options: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        InsertQDQ(**options).check()
    InsertQDQ(calibrator="histogram", percentile=99.0, islands="2").check()


@pytest.mark.parametrize("target", ["ort-x86-vnni", "qnn"])
def test_weights_of_nodes_that_stay_float_become_int8_all_the_same(target: str) -> None:
    text = """g (float[T,N,8] x, int64[N] i) => (float[N,1,4] y, float[N,8] e) {
      e = Gather(table, i)  s, h = LSTM<hidden_size=16>(x, w, r)
      t = Transpose<perm=[1,0,2]>(h)  y = MatMul(t, m) }"""
    model = model_of(text, {"w": (1, 64, 8), "r": (1, 64, 16), "m": (16, 4), "table": (60, 8)})
    feeds = {"x": RNG.normal(size=(5, 12, 8)).astype(np.float32), "i": np.arange(5)}
    small, findings = quantize(model, feeds, target=target)
    wide = {n for n, v in small.graph.initializers.items() if v.dtype == ir.DataType.FLOAT and v.const_value.size > 64}
    assert not wide and "QUANT-WEIGHTS" in {f.code for f in findings}
    assert {v.dtype for n, v in small.graph.initializers.items() if n.endswith("_quantized")} == {ir.DataType.INT8}


def test_a_weight_that_int8_would_change_too_much_stays_float() -> None:
    text = "g (float[T,N,8] x) => (float[1,N,256] h) { s, h = RNN<hidden_size=256>(x, w, r) }"
    model = model_of(text, {"w": (1, 256, 8), "r": (1, 256, 256)})
    spiky = np.full((1, 256, 256), 0.49 / 127, np.float32)  # every weight but one in a row would round to zero
    spiky[..., 7] = 1
    model.graph.initializers["r"].const_value = ir.tensor(spiky, name="r")
    small, findings = quantize(model, {"x": RNG.normal(size=(5, 12, 8)).astype(np.float32)})
    assert [f.node for f in findings if f.code == "QUANT-INEXACT"] == ["r"]
    assert "r" in small.graph.initializers and "w_quantized" in small.graph.initializers


def test_openvino_gets_recurrent_weights_as_float_constants() -> None:
    text = "g (float[T,N,8] x) => (float[T,1,N,16] y) { y = LSTM<hidden_size=16>(x, w, r) }"
    model = model_of(text, {"w": (1, 64, 8), "r": (1, 64, 16)})
    small, _ = quantize(model, {"x": RNG.normal(size=(5, 12, 8)).astype(np.float32)}, target="openvino")
    assert set(small.graph.initializers) == {"w", "r"}


def test_mobile_has_one_power_of_two_a_tensor_islands_included() -> None:
    model, data = model_of(RESNET, SIZES), samples(3, 12, 12)
    quantized, _ = quantize(model, data, "mobile", islands="1")
    steps = [v.const_value.numpy() for n, v in quantized.graph.initializers.items() if n.endswith("_scale")]
    assert steps and all(s.size == 1 and np.frexp(s)[0] == 0.5 for s in steps)
