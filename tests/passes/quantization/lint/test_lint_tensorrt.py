"""Each rule of TensorRT's parser has a model that breaks it alone, and one beside it that does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from onnxcompress.passes.insert_qdq import InsertQDQ
from onnxcompress.passes.quantization.lint import lint, rules_of
from onnxcompress.targets import load_target
from onnxcompress.testing import context

TENSORRT = load_target("tensorrt")


def model_of(body: str, opset: int = 21, **arrays: np.ndarray | onnx.TensorProto) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]> g {body}'
    proto = onnx.parser.parse_model(text)
    for name, array in arrays.items():
        tensor = numpy_helper.from_array(array, name) if isinstance(array, np.ndarray) else array
        tensor.name = name
        proto.graph.initializer.append(tensor)
    return ir.from_proto(proto)


def int4(*shape: int) -> onnx.TensorProto:
    size = int(np.prod(shape))
    return onnx.helper.make_tensor("w", onnx.TensorProto.INT4, shape, [i % 7 for i in range(size)])


def f32(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0], np.float32)


PAIR = "(float[2,4] x) => (float[2,4] y) { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }"
WEIGHT = "(float[2,4] x) => (float[2,6] y) { d = DequantizeLinear<axis=1>(w, s, z)  y = MatMul(x, d) }"
PER_CHANNEL = """(float[2,4] x) => (float[2,4] y) {
  q = QuantizeLinear<axis=1>(x, s, z)  y = DequantizeLinear<axis=1>(q, s, z) }"""
BLOCKED = "(float[2,4] x) => (float[2,6] y) { d = DequantizeLinear<axis=0, block_size=2>(w, s)  y = MatMul(x, d) }"
I8 = np.int8
BREAKS = {
    "LINT-TYPE": (PAIR, {"s": f32(0.5), "z": np.array(0, np.uint8)}),
    "LINT-ZERO-POINT": (PAIR, {"s": f32(0.5), "z": np.array(3, I8)}),
    "LINT-SCALE": (PAIR, {"s": f32(-0.5), "z": np.array(0, I8)}),
    "LINT-SIZES": (WEIGHT, {"s": np.full(6, 0.5, np.float32), "z": np.zeros(1, I8), "w": np.ones((4, 6), I8)}),
    "LINT-PER-AXIS": (
        PER_CHANNEL,
        {"s": np.full(4, 0.5, np.float32), "z": np.zeros(4, I8)},
    ),
    "LINT-AXIS": (
        PER_CHANNEL.replace("axis=1", "axis=5"),
        {"s": f32(0.5), "z": np.array(0, I8)},
    ),
    "LINT-INT32": (
        "(float[2,4] x) => (float[2,4] y) { d = DequantizeLinear(b, s)  y = Add(x, d) }",
        {"s": f32(0.5), "b": np.arange(4, dtype=np.int32)},
    ),
    "LINT-BLOCK": (BLOCKED, {"s": np.full((2, 3), 0.5, np.float32), "w": np.ones((4, 6), I8)}),
    "LINT-ODD": (
        "(float[2,4] x) => (float[2,5] y) { d = DequantizeLinear(w, s)  y = MatMul(x, d) }",
        {"s": f32(0.5), "w": int4(4, 5)},
    ),
    "LINT-SCALE-TYPE": (
        "(double[2,4] x) => (double[2,4] y) { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }",
        {"s": np.array(0.5, np.float64), "z": np.array(0, I8)},
    ),
    "LINT-OUTPUT-TYPE": (
        PAIR.replace("QuantizeLinear(x", "QuantizeLinear<output_dtype=2>(x"),
        {"s": f32(0.5), "z": np.array(0, I8)},
    ),
    "LINT-INT4-ACTIVATION": (
        PAIR,
        {"s": f32(0.5), "z": onnx.helper.make_tensor("z", onnx.TensorProto.INT4, (), [0])},
    ),
    "LINT-DOMAIN": (
        PAIR.replace("QuantizeLinear(x", "com.microsoft.QuantizeLinear(x").replace("Deq", "com.microsoft.Deq"),
        {"s": f32(0.5), "z": np.array(0, I8)},
    ),
    "LINT-OPERATOR": (
        "(float[2,4] x) => (int32[2,6] y) { q, s, z = DynamicQuantizeLinear(x)  y = MatMulInteger(q, w) }",
        {"w": np.ones((4, 6), I8)},
    ),
}


def codes(model: ir.Model) -> set[str]:
    return {f.code for f in lint(model, TENSORRT)}


@pytest.mark.parametrize("code", BREAKS)
def test_each_rule_finds_the_model_that_breaks_it(code: str) -> None:
    body, arrays = BREAKS[code]
    assert codes(model_of(body, **arrays)) == {code}


def test_scale_and_zero_point_that_the_model_computes_are_found() -> None:
    assert codes(model_of(PAIR.replace("x)", "x, float s, int8 z)", 1))) == {"LINT-SCALE", "LINT-ZERO-POINT"}


def test_old_operator_sets() -> None:
    model = model_of(PAIR, opset=9, s=f32(0.5), z=np.array(0, I8))
    assert codes(model) == {"LINT-OPSET"}
    per_axis = model_of(WEIGHT, opset=12, s=np.full(6, 0.5, np.float32), z=np.zeros(6, I8), w=np.ones((4, 6), I8))
    assert codes(per_axis) == {"LINT-OPSET"}


def test_every_rule_has_a_model_that_breaks_it_and_names_its_document() -> None:
    assert {rule.code for rule in rules_of(TENSORRT)} == {*BREAKS, "LINT-OPSET"}
    assert all(rule.source for rule in rules_of(TENSORRT))


@pytest.mark.parametrize(
    ("body", "arrays"),
    [
        (PAIR, {"s": f32(0.5), "z": np.array(0, I8)}),
        (WEIGHT, {"s": np.full(6, 0.5, np.float32), "z": np.zeros(6, I8), "w": np.ones((4, 6), I8)}),
        (BLOCKED, {"s": np.full((2, 6), 0.5, np.float32), "w": int4(4, 6)}),
    ],
)
def test_what_the_parser_takes_is_clean(body: str, arrays: dict[str, np.ndarray]) -> None:
    assert lint(model_of(body, **arrays), TENSORRT) == []


def test_a_float_weight_quantized_in_the_graph_may_have_one_scale_a_channel() -> None:
    body = """(float[2,4] x) => (float[2,6] y) {
      q = QuantizeLinear<axis=1>(w, s, z)  d = DequantizeLinear<axis=1>(q, s, z)  y = MatMul(x, d) }"""
    arrays = {"s": np.full(6, 0.5, np.float32), "z": np.zeros(6, I8), "w": np.ones((4, 6), np.float32)}
    assert lint(model_of(body, **arrays), TENSORRT) == []


def test_the_default_file_of_onnxruntime_is_flagged_and_ours_is_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[N,3,8,8] x) => (float[N,8,6,6] y) {
      a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)  y = Conv(r, v) }"""
    proto = onnx.parser.parse_model(text)
    for name, size in {"w": (16, 3, 3, 3), "b": (16,), "v": (8, 16, 3, 3)}.items():
        proto.graph.initializer.append(numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name))
    data = rng.normal(size=(12, 3, 8, 8)).astype(np.float32)
    theirs = quantized_by_onnxruntime(proto, data, tmp_path)
    assert {"LINT-ZERO-POINT", "LINT-INT32"} <= codes(theirs)
    ours = ir.from_proto(proto)
    list(InsertQDQ().run(ours, context(ours, data={"x": data}, target="tensorrt")))
    assert lint(ours, TENSORRT) == [] and any(n.op_type == "QuantizeLinear" for n in ours.graph)


def quantized_by_onnxruntime(proto: onnx.ModelProto, data: np.ndarray, folder: Path) -> ir.Model:
    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.runs = iter([{"x": data}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.runs, None)

    onnx.save(proto, folder / "float.onnx")
    quantize_static(folder / "float.onnx", folder / "int8.onnx", Reader())
    return ir.from_proto(onnx.load(folder / "int8.onnx"))
