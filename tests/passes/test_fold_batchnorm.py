from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from builders.equality import difference, interface, run
from onnx import numpy_helper

from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
from onnxcompress.testing import context

RNG = np.random.default_rng(3)


def model_of(text: str, weights: dict[str, np.ndarray], opset: int = 18) -> ir.Model:
    header = f'<ir_version: 8, opset_import: ["": {opset}]>'
    proto = onnx.parser.parse_model(header + text)
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return ir.from_proto(proto)


def batchnorm(channels: int, dtype: type = np.float32, **over: np.ndarray) -> dict[str, np.ndarray]:
    made = {
        "g": RNG.normal(size=channels),
        "o": RNG.normal(size=channels),
        "m": RNG.normal(size=channels),
        "v": RNG.uniform(0.3, 2, size=channels),
    }
    made["g"][0] = 0  # a channel that is switched off
    made["g"][-1] = -1.5
    return {k: over.get(k, v).astype(dtype) for k, v in made.items()}


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype)


BN = "BatchNormalization<epsilon = 0.001>"
CASES = {
    "conv": (
        f"g (float[N,4,7,7] x) => (float[N,6,7,7] y) {{ c = Conv<pads=[1,1,1,1]>(x, w) y = {BN}(c,g,o,m,v) }}",
        {"w": (6, 4, 3, 3)},
        6,
        (2, 4, 7, 7),
    ),
    "grouped conv with a bias": (
        f"g (float[N,4,7] x) => (float[N,6,5] y) {{ c = Conv<group=2>(x, w, b) y = {BN}(c,g,o,m,v) }}",
        {"w": (6, 2, 3), "b": (6,)},
        6,
        (2, 4, 7),
    ),
    "grouped transposed conv": (
        (
            "g (float[N,4,5,5] x) => (float[N,6,A,B] y) "
            f"{{ c = ConvTranspose<group=2, strides=[2,2]>(x, w, b) y = {BN}(c,g,o,m,v) }}"
        ),
        {"w": (4, 3, 3, 3), "b": (6,)},
        6,
        (2, 4, 5, 5),
    ),
    "gemm": (
        (
            "g (float[N,4] x) => (float[N,6] y) "
            f"{{ c = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, b) y = {BN}(c,g,o,m,v) }}"
        ),
        {"w": (6, 4), "b": (6,)},
        6,
        (3, 4),
    ),
    "gemm without bias": (
        f"g (float[N,4] x) => (float[N,6] y) {{ c = Gemm(x, w) y = {BN}(c,g,o,m,v) }}",
        {"w": (4, 6)},
        6,
        (3, 4),
    ),
    "gemm with one bias for all": (
        f"g (float[N,4] x) => (float[N,6] y) {{ c = Gemm(x, w, b) y = {BN}(c,g,o,m,v) }}",
        {"w": (4, 6), "b": (1,)},
        6,
        (3, 4),
    ),
    "matmul": (
        f"g (float[N,4] x) => (float[N,6] y) {{ c = MatMul(x, w) y = {BN}(c,g,o,m,v) }}",
        {"w": (4, 6)},
        6,
        (3, 4),
    ),
    "matmul and bias": (
        f"g (float[N,4] x) => (float[N,6] y) {{ c = MatMul(x, w) d = Add(b, c) y = {BN}(d,g,o,m,v) }}",
        {"w": (4, 6), "b": (6,)},
        6,
        (3, 4),
    ),
    "before a conv that does not pad": (
        f"g (float[N,4,7,7] x) => (float[N,6,5,5] y) {{ c = {BN}(x,g,o,m,v) y = Conv<group=2>(c, w, b) }}",
        {"w": (6, 2, 3, 3), "b": (6,)},
        4,
        (2, 4, 7, 7),
    ),
}


# ONNX Runtime's CPU provider has no double Conv.
KINDS = [(n, np.float32) for n in CASES] + [(n, np.float64) for n in CASES if "gemm" in n or "matmul" in n]


@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_same_numbers_and_no_normalization_left(name: str, dtype: type) -> None:
    text, shapes, channels, size = CASES[name]
    text = text.replace("float[", "double[") if dtype is np.float64 else text
    weights = {k: normal(*s, dtype=dtype) for k, s in shapes.items()} | batchnorm(channels, dtype)
    model = model_of(text, weights)
    before = ir.to_proto(model)
    findings = list(FoldBatchNorm().run(model, context(model)))
    after = ir.to_proto(model)
    onnx.checker.check_model(after, full_check=True)
    assert [f.code for f in findings] == ["FOLD-DONE"]
    assert "BatchNormalization" not in [n.op_type for n in after.graph.node]
    assert {"g", "o", "m", "v"}.isdisjoint(i.name for i in after.graph.initializer)
    assert interface(before) == interface(after)
    feeds = {"x": normal(*size, dtype=dtype)}
    assert difference(run(before, feeds), run(after, feeds)) == ""


def test_float16_is_computed_wide_and_rounded_once() -> None:
    text = CASES["conv"][0].replace("float[", "float16[")
    weights = {"w": normal(6, 4, 3, 3, dtype=np.float16)} | batchnorm(6, np.float16)
    model = model_of(text, weights)
    before = ir.to_proto(model)
    assert [f.code for f in FoldBatchNorm().run(model, context(model))] == ["FOLD-DONE"]
    folded = model.graph.initializers["w"].const_value.numpy()
    scale = weights["g"].astype(float) / np.sqrt(weights["v"].astype(float) + 0.001)
    np.testing.assert_array_equal(folded, (weights["w"] * scale[:, None, None, None]).astype(np.float16))
    feeds = {"x": normal(2, 4, 7, 7, dtype=np.float16)}
    assert difference(run(before, feeds), run(ir.to_proto(model), feeds), 2e-2) == ""


def test_a_shared_weight_is_copied_for_the_folded_reader_only() -> None:
    text = f"""g (float[N,4,5] x) => (float[N,4,5] y, float[N,4,5] z)
        {{ c = Conv(x, w) y = {BN}(c,g,o,m,v) z = Conv(x, w) }}"""
    model = model_of(text, {"w": normal(4, 4, 1)} | batchnorm(4))
    before = ir.to_proto(model)
    assert [f.code for f in FoldBatchNorm().run(model, context(model))] == ["FOLD-DONE"]
    feeds = {"x": normal(2, 4, 5)}
    assert difference(run(before, feeds), run(ir.to_proto(model), feeds)) == ""
    assert {"w", "w_1", "w_bias"} == set(model.graph.initializers)


LEFT = {
    "FOLD-SHARED-OUTPUT": "g (float[N,4,5] x) => (float[N,4,5] y, float[N,4,5] c) "
    "{ c = Conv(x, w) y = BatchNormalization(c,g,o,m,v) }",
    "FOLD-PADDED": "g (float[N,4,5] x) => (float[N,4,7] y) "
    "{ c = BatchNormalization(x,g,o,m,v) y = Conv<pads=[1,1]>(c, w) }",
    "FOLD-NO-PARTNER": "g (float[N,4,5] x) => (float[N,4,5] y) { c = Relu(x) y = BatchNormalization(c,g,o,m,v) }",
    "FOLD-TRAINING": "g (float[N,4,5] x) => (float[N,4,5] y) "
    "{ c = Conv(x, w) y = BatchNormalization<training_mode=1>(c,g,o,m,v) }",
    "FOLD-NOT-CONSTANT": "g (float[N,4,5] x, float[4] s) => (float[N,4,5] y) "
    "{ c = Conv(x, w) y = BatchNormalization(c,s,o,m,v) }",
    "FOLD-RANK": "g (float[N,4,4] x, float[4,4] u) => (float[N,4,4] y) "
    "{ c = MatMul(x, u2) y = BatchNormalization(c,g,o,m,v) }",
}


@pytest.mark.parametrize("code", LEFT)
def test_what_cannot_be_folded_is_left_with_a_reason(code: str) -> None:
    model = model_of(LEFT[code], {"w": normal(4, 4, 1), "u2": normal(4, 4)} | batchnorm(4))
    before = ir.to_proto(model)
    findings = list(FoldBatchNorm().run(model, context(model)))
    assert [f.code for f in findings] == [code]
    assert findings[0].message
    assert before == ir.to_proto(model)


@pytest.mark.parametrize(
    ("code", "over", "dtype"),
    [
        ("FOLD-VARIANCE", {"v": np.full(4, -1.0)}, np.float32),
        ("FOLD-NOT-FINITE", {"o": np.full(4, np.nan)}, np.float32),
        ("FOLD-OVERFLOW", {"g": np.full(4, 6e4)}, np.float16),
    ],
)
def test_parameters_that_spoil_the_weights_are_refused(code: str, over: dict, dtype: type) -> None:
    text = CASES["conv"][0].replace("float[", "float16[") if dtype is np.float16 else CASES["conv"][0]
    text = text.replace("N,6", "N,4")
    model = model_of(text, {"w": 30 * np.ones((4, 4, 3, 3), dtype)} | batchnorm(4, dtype, **over))
    before = ir.to_proto(model)
    assert [f.code for f in FoldBatchNorm().run(model, context(model))] == [code]
    assert before == ir.to_proto(model)


def test_zero_shift_passes_a_padding_conv() -> None:
    zero = np.zeros(4)
    text = LEFT["FOLD-PADDED"]
    model = model_of(text, {"w": normal(4, 4, 1)} | batchnorm(4, o=zero, m=zero))
    before = ir.to_proto(model)
    assert [f.code for f in FoldBatchNorm().run(model, context(model))] == ["FOLD-DONE"]
    feeds = {"x": normal(2, 4, 5)}
    assert difference(run(before, feeds), run(ir.to_proto(model), feeds)) == ""


def test_old_opsets_that_train_are_refused() -> None:
    text = "g (float[N,4,5] x) => (float[N,4,5] y) { c = Conv(x, w) y = BatchNormalization(c,g,o,m,v) }"
    model = model_of(text, {"w": normal(4, 4, 1)} | batchnorm(4), opset=6)
    assert [f.code for f in FoldBatchNorm().run(model, context(model))] == ["FOLD-TRAINING"]
