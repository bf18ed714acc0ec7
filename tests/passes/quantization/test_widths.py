from __future__ import annotations

import numpy as np
import onnx.checker
import onnx_ir as ir
import pytest
from builders.placements import model_with

from onnxcompress.errors import UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.widths import with_widths
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import load_target
from onnxcompress.testing import context
from onnxcompress.testing.texts import model_of

RNG = np.random.default_rng(8)
NET = """g (float[N,3,10,10] x) => (float[N,8] y) {
  c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1], group=16>(r1, w2, b2)  a = Add(c2, r1)
  m = GlobalAveragePool(a)  f = Flatten(m)  y = MatMul(f, w3) }"""
SIZES = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 1, 3, 3), "b2": (16,), "w3": (16, 8)}
COMBINATIONS = [
    "int8/uint8", "int8/int8", "int8/uint16", "int8/int16", "int4/uint8", "int4/int8", "int4/uint16", "int4/int16",
]  # fmt: skip
LEAST_SQNR = {"int8/8": 24, "int8/16": 30, "int4/8": 10, "int4/16": 10}


def net() -> tuple[ir.Model, dict[str, np.ndarray]]:
    """A model whose operator set is too old for 4 and 16 bits."""
    values = {k: (RNG.normal(size=s) * 0.4).astype(np.float32) for k, s in SIZES.items()}
    constants = ", ".join(f"float[{','.join(map(str, s))}] {k}" for k, s in SIZES.items())
    model = model_of(
        f'<ir_version: 8, opset_import: ["": 17]> {NET}'.replace(
            "float[N,3,10,10] x", f"float[N,3,10,10] x, {constants}"
        )
    )
    for name, array in values.items():
        value = next(v for v in model.graph.inputs if v.name == name)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(array, name=name)
        model.graph.register_initializer(value)
    return model, {"x": RNG.normal(size=(16, 3, 10, 10)).astype(np.float32)}


@pytest.mark.parametrize("widths", COMBINATIONS)
def test_every_combination_runs_and_keeps_what_its_bits_allow(widths: str) -> None:
    model, data = net()
    weights, activations = widths.split("/")
    small = clone(model)
    options = InsertQDQ(weights=weights, activations=activations, islands="0")
    findings = list(options.run(small, context(small, data=data, target="ort-x86-vnni")))
    onnx.checker.check_model(ir.to_proto(small), full_check=True)
    types = {v.dtype for n in small.graph if n.op_type == "QuantizeLinear" for v in n.outputs}
    assert types == {ir.DataType[activations.upper()]}
    stored = [
        n.inputs[0].dtype for n in small.graph if n.op_type == "DequantizeLinear" and n.inputs[0].is_initializer()
    ]
    assert stored.count(ir.DataType[weights.upper()]) == 3
    assert (ir.DataType.INT32 in stored) == (widths in ("int8/uint8", "int8/int8"))  # a float bias elsewhere
    wanted, got = (Session(m, RuntimeOptions(threads=1)).run(data)["y"] for m in (model, small))
    sqnr = 10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2))
    assert sqnr > LEAST_SQNR[f"{weights}/{'16' if '16' in activations else '8'}"]
    raised = {f.code for f in findings} & {"QUANT-OPSET", "QUANT-WIDTHS"}
    assert raised == (set() if widths in ("int8/uint8", "int8/int8") else {"QUANT-OPSET", "QUANT-WIDTHS"})


def test_a_combination_that_the_target_cannot_take_names_what_it_can() -> None:
    with pytest.raises(UsageError, match="cannot take --activations int16") as caught:
        with_widths(load_target("tensorrt"), None, "int16")
    assert caught.value.code == "USAGE-WIDTHS" and "int8/int8" in caught.value.why
    with pytest.raises(UsageError, match="--weights int4") as caught:
        with_widths(load_target("tensorrt"), "int4", None)
    assert "--weights int4 --activations none" in caught.value.hint


def test_the_operator_set_follows_the_wider_need() -> None:
    target = load_target("ort-x86-vnni")
    assert with_widths(target, None, None) == target
    assert with_widths(target, "int8", "int16").min_opset == with_widths(target, "int4", "uint8").min_opset == 21
    assert with_widths(target, "float8", "none").min_opset == 19


@pytest.mark.parametrize("move", ["Reshape(c, s)", "Transpose<perm=[0,2,3,1]>(c)", "Squeeze(c, i)", "Flatten(c)"])
@pytest.mark.parametrize("weights", ["int8", "int4"])
@pytest.mark.parametrize("effort", ["fast", "default"])
def test_int8_beside_data_movement_and_a_float_reader_loads(move: str, weights: str, effort: str) -> None:
    """ONNX Runtime puts a pair of its own behind such a Reshape, uint8 beside output_dtype INT8."""
    text = f"""g (float[N,3,8,8] x) => (float[N,16] y) <int64[3] s = {{0, 16, -1}}, int64[1] i = {{2}}>
        {{ c = Conv<strides=[8,8]>(x, w)  m = {move}  e = Erf(m)  f = Flatten(e)  y = MatMul(f, v) }}"""
    model = model_with(text, {"w": (16, 3, 8, 8), "v": (16, 16)}, opset=21)
    data = {"x": RNG.normal(size=(16, 3, 8, 8)).astype(np.float32)}
    options = InsertQDQ(weights=weights, activations="int8", islands="0", effort=effort)
    list(options.run(model, context(model, data=data, target="ort-x86-vnni")))
    assert any(node.op_type == "QuantizeLinear" for node in model.graph)
    assert Session(model, RuntimeOptions(threads=1)).run(data)["y"].shape == (16, 16)
