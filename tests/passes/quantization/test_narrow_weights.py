from __future__ import annotations

import numpy as np
import onnx.checker
import onnx_ir as ir
import pytest

from onnxcompress import model_io
from onnxcompress.errors import UsageError
from onnxcompress.graph import clone
from onnxcompress.passes.quantization.lint import lint
from onnxcompress.passes.quantization.products_of_bits import packed
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.quantization_recipe import quantize_entries
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import load_target
from onnxcompress.testing import context
from onnxcompress.testing.texts import model_of

RNG = np.random.default_rng(5)
OPTIONS = RuntimeOptions(threads=1)
CASES = {
    "matmul": ("g (float[N,80] x, {w}) => (float[N,48] y) {{ y = MatMul(x, w) }}", (80, 48), (3, 80)),
    "twice": ("g (float[N,64] x, {w}) => (float[N,64] y) {{ h = MatMul(x, w) y = MatMul(h, w) }}", (64, 64), (3, 64)),
    "gemm": ("g (float[N,96] x, {w}) => (float[N,64] y) {{ y = Gemm<transB=1>(x, w) }}", (64, 96), (3, 96)),
    "conv": ("g (float[N,8,9,9] x, {w}) => (float[N,16,7,7] y) {{ y = Conv(x, w) }}", (16, 8, 3, 3), (2, 8, 9, 9)),
    "rnn": ("g (float[5,2,64] x, {w}, float[2,16,16] r) => (float[5,2,2,16] y) {{ y = RNN<hidden_size=16, direction=\"bidirectional\">(x, w, r) }}", (2, 16, 64), (5, 2, 64)),  # noqa: E501
    "table": ("g (int64[N] x, {w}) => (float[N,32] y) {{ y = Gather(w, x) }}", (50, 32), None),
}  # fmt: skip
LARGEST = {"int4": 0.2, "float8": 0.06}


def case_of(name: str) -> tuple[ir.Model, dict[str, np.ndarray]]:
    text, size, shape = CASES[name]
    model = model_of(text.format(w=f"float[{','.join(map(str, size))}] w"))
    for value in list(model.graph.inputs)[1:]:
        array = 0.3 * RNG.normal(size=value.shape.numpy()).astype(np.float32)
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(array, name=value.name)
        model.graph.register_initializer(value)
    return model, {"x": np.arange(7) * 7 if shape is None else RNG.normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("weights", "form"), [("int4", "qdq"), ("int4", "matmulnbits"), ("float8", "qdq")])
def test_every_weight_shrinks_and_the_runtime_stays_close(name: str, weights: str, form: str) -> None:
    model, feeds = case_of(name)
    small = clone(model)
    findings = list(QuantizeWeights(weights=weights, format=form).run(small, context(small, target="ort-x86-vnni")))
    onnx.checker.check_model(ir.to_proto(small), full_check=True)
    assert findings[-1].numbers["weights"] >= 1 and "w" not in small.graph.initializers
    assert len(model_io.to_bytes(small)) < len(model_io.to_bytes(model))
    wanted, got = (Session(m, OPTIONS).run(feeds)["y"] for m in (model, small))
    assert np.linalg.norm(wanted - got) <= LARGEST[weights] * np.linalg.norm(wanted)


def test_both_forms_of_a_product_give_the_same_numbers() -> None:
    model, feeds = case_of("matmul")
    found = {}
    for form in ("qdq", "matmulnbits"):
        small = clone(model)
        list(QuantizeWeights(weights="int4", format=form).run(small, context(small, target="ort-x86-vnni")))
        found[form] = Session(small, OPTIONS, optimize=False).run(feeds)["y"]
        if form == "matmulnbits":
            assert [(n.domain, n.op_type) for n in small.graph] == [("com.microsoft", "MatMulNBits")]
    np.testing.assert_allclose(found["qdq"], found["matmulnbits"], rtol=1e-4, atol=1e-4)


def test_two_numbers_a_byte_the_earlier_one_low() -> None:
    numbers = np.arange(-8, 8, dtype=np.int8).reshape(16, 1)
    got = packed(numbers, 16)[0, 0]
    np.testing.assert_array_equal(got & 15, np.arange(0, 16, 2))
    np.testing.assert_array_equal(got >> 4, np.arange(1, 16, 2))
    np.testing.assert_array_equal(packed(numbers[:1], 16)[0, 0, 1:], np.full(7, 0x88))


def test_tensorrt_gets_whole_blocks_only() -> None:
    for name, block in (("matmul", None), ("gemm", 32)):
        model, _ = case_of(name)
        list(QuantizeWeights(weights="int4").run(model, context(model, target="tensorrt")))
        found = model.graph[0].attributes.get("block_size")
        assert (found.value if found is not None else None) == block


def test_tensorrt_gets_int8_where_pairs_of_numbers_do_not_come_out_even_and_lint_is_content() -> None:
    target = load_target("tensorrt")
    for name, kind in (("conv", ir.DataType.INT8), ("gemm", ir.DataType.INT4), ("matmul", ir.DataType.INT4)):
        model, _ = case_of(name)
        found = list(QuantizeWeights(weights="int4").run(model, context(model, target="tensorrt")))
        assert [f.node for f in found if f.code == "QUANT-ODD"] == (["w"] if kind == ir.DataType.INT8 else [])
        assert model.graph[0].inputs[0].dtype == kind and lint(model, target) == []


def test_tables_stay_bytes_and_say_why() -> None:
    model, _ = case_of("table")
    found = list(QuantizeWeights(weights="int4").run(model, context(model, target="ort-x86-vnni")))
    assert [f.node for f in found if f.code == "QUANT-TABLE"] == ["w"]
    assert model.graph.initializers["w_quantized"].dtype == ir.DataType.INT8


def test_matmulnbits_is_for_onnxruntime_alone() -> None:
    model, _ = case_of("matmul")
    with pytest.raises(UsageError, match="does not go with the target tensorrt"):
        list(QuantizeWeights(weights="int4", format="matmulnbits").run(model, context(model, target="tensorrt")))


@pytest.mark.parametrize(
    ("options", "told"),
    [({"block": 24}, "--block 24"), ({"block": 8}, "--block 8"), ({"format": "matmulnbits"}, "4 bits")],
)
def test_forms_that_do_not_exist_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        QuantizeWeights(**options).check()


def test_activations_none_stores_weights_alone_even_with_data() -> None:
    assert quantize_entries({"activations": "none", "weights": "int4"}, True)[-1] == (
        "quantize-weights",
        {"weights": "int4"},
    )
    with pytest.raises(UsageError, match="--calibrator does not go with --activations none") as caught:
        quantize_entries({"activations": "none", "calibrator": "kl"}, True)
    assert caught.value.hint == "Leave out --calibrator, or --activations none."
    with pytest.raises(UsageError, match="--activations is an option of insert-qdq"):
        quantize_entries({"activations": "int8"}, False)
