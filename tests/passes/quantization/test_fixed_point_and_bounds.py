from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from onnxcompress.graph import clone
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import Target, load_target
from onnxcompress.testing import context

RNG = np.random.default_rng(21)
OPTIONS = RuntimeOptions(threads=1)


def model_of(text: str, sizes: dict[str, tuple[int, ...]], **given: np.ndarray) -> ir.Model:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]>' + text)
    arrays = {name: (RNG.normal(size=size) * 0.3).astype(np.float32) for name, size in sizes.items()} | given
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return ir.from_proto(proto)


def quantize(model: ir.Model, data: dict[str, np.ndarray], target: str | Target = "ort-x86-vnni", **options):
    quantized = clone(model)
    findings = list(InsertQDQ(**options, islands="0").run(quantized, context(quantized, data=data, target=target)))
    return quantized, findings


def sqnr(model: ir.Model, quantized: ir.Model, data: dict[str, np.ndarray]) -> float:
    wanted, got = (next(iter(Session(m, OPTIONS).run(data).values())).astype(float) for m in (model, quantized))
    return float(10 * np.log10((wanted**2).sum() / ((wanted - got) ** 2).sum()))


def scales_of(model: ir.Model, ending: str) -> np.ndarray:
    found = [v.const_value.numpy().reshape(-1) for n, v in model.graph.initializers.items() if n.endswith(ending)]
    return np.concatenate(found)


def fixed_point() -> Target:
    return replace(load_target("generic"), power_of_two=True, reduce_range=False)


@pytest.mark.parametrize("calibrator", ["truncate", "mse"])
@pytest.mark.parametrize("low_bits", ["round", "truncate"])
def test_every_scale_of_a_fixed_point_target_is_a_power_of_two(calibrator: str, low_bits: str) -> None:
    text = (
        "g (float[N,8,6,6] x) => (float[N,4,6,6] y) { h = Conv<pads=[1,1,1,1]>(x, w)  s = Sigmoid(h)  y = Conv(s, v) }"
    )
    model = model_of(text, {"w": (16, 8, 3, 3), "v": (4, 16, 1, 1)})
    data = {"x": RNG.normal(size=(12, 8, 6, 6)).astype(np.float32)}
    small, _ = quantize(model, data, target=fixed_point(), calibrator=calibrator, low_bits=low_bits)
    assert len(scales_of(small, "_scale")) > 20 and (np.frexp(scales_of(small, "_scale"))[0] == 0.5).all()
    assert sqnr(model, small, data) > (25 if low_bits == "round" else 15)
    weight, stored = (m.graph.initializers[n].const_value.numpy() for m, n in ((model, "w"), (small, "w_quantized")))
    exact = weight / small.graph.initializers["w_scale"].const_value.numpy().reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(stored, (np.trunc if low_bits == "truncate" else np.round)(exact))


BOUNDS = {
    "Sigmoid(h)": (0.0, 1.0),
    "Tanh(h)": (-1.0, 1.0),
    "Clip(h, zero, six)": (0.0, 6.0),
    "Softmax<axis=1>(h)": (0.0, 1.0),
}


@pytest.mark.parametrize("op", BOUNDS)
def test_bounded_results_keep_their_exact_range_through_data_movement(op: str) -> None:
    text = f"""g (float[N,8] x) => (float[N,4] y) {{ h = MatMul(x, w)  s = {op}
      r = Reshape(s, shape)  t = Transpose<perm=[0,2,1]>(r)  f = Flatten(t)  y = MatMul(f, v) }}"""
    constants = {"zero": np.float32(0), "six": np.float32(6), "shape": np.array([0, 4, 4])}
    model = model_of(text, {"w": (8, 16), "v": (16, 4)}, **{k: np.asarray(v) for k, v in constants.items()})
    data = {"x": RNG.normal(size=(40, 8)).astype(np.float32) * 25}
    small, _ = quantize(model, data, calibrator="mse")
    tensor = next(n for n in ("s", "t", "f", "r") if f"{n}_scale" in small.graph.initializers)
    scale, zero = (small.graph.initializers[f"{tensor}_{k}"].const_value.numpy() for k in ("scale", "zero_point"))
    low, high = BOUNDS[op]
    np.testing.assert_allclose(scale, (high - low) / 255, rtol=1e-6)
    assert zero == np.round(-low / scale)


def test_a_bounded_result_that_stays_far_from_its_bounds_keeps_its_resolution() -> None:
    text = "g (float[N,64] x) => (float[N,4] y) { s = Softmax<axis=1>(x)  y = MatMul(s, v) }"
    model = model_of(text, {"v": (64, 4)})
    data = {"x": RNG.normal(size=(40, 64)).astype(np.float32) * 0.1}
    small, _ = quantize(model, data)
    largest = (np.exp(data["x"]) / np.exp(data["x"]).sum(axis=1, keepdims=True)).max()
    np.testing.assert_allclose(small.graph.initializers["s_scale"].const_value.numpy(), largest / 255, rtol=1e-5)


@pytest.mark.parametrize(("count", "warned"), [(1, True), (7, True), (8, False)])
def test_few_samples_are_said_to_be_few(count: int, warned: bool) -> None:
    model = model_of("g (float[N,32] x) => (float[N,24] y) { y = MatMul(x, w) }", {"w": (32, 24)})
    _, findings = quantize(model, {"x": RNG.normal(size=(count, 32)).astype(np.float32)})
    assert [f.numbers["samples"] for f in findings if f.code == "QUANT-FEW-SAMPLES"] == ([count] if warned else [])


def test_16_bit_activations_of_a_fixed_point_target_use_all_their_levels() -> None:
    model = model_of("g (float[N,8,6,6] x) => (float[N,16,4,4] y) { y = Conv(x, w) }", {"w": (16, 8, 3, 3)})
    data = {"x": RNG.normal(size=(12, 8, 6, 6)).astype(np.float32)}
    steps = {}
    for kind in ("int8", "int16"):
        target = replace(fixed_point(), activation_dtype=kind, widths=(f"int8/{kind}",), min_opset=21)
        small, _ = quantize(model, data, target=target, calibrator="mse")
        steps[kind] = float(small.graph.initializers["x_scale"].const_value.numpy())
        assert np.frexp(steps[kind])[0] == 0.5
    assert steps["int8"] / steps["int16"] == 256
