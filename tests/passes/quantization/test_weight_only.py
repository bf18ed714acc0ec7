"""Weights alone, with samples: rounding by what the weights do together."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxcompress.graph import clone
from onnxcompress.passes.quantize_weights import QuantizeWeights
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.testing import context
from onnxcompress.testing.texts import assert_pass, model_of

OPTIONS = RuntimeOptions(threads=1)
TEXT = """g (float[N,64] x, float[64,64] w, float[64,32] v) => (float[N,32] y)
  { h = MatMul(x, w)  r = Relu(h)  y = MatMul(r, v) }"""
HEADER = '<ir_version: 10, opset_import: ["": 21]>'
HEADER_OF_TWO = '<ir_version: 10, opset_import: ["": 21, "com.microsoft": 1]>'
NUMBERS = np.tile(np.arange(32)[:, None] % 15 - 7, 4)
SCALES = np.array([[1, 1, 2, 0.5]] * 2)


def listed(array: np.ndarray) -> str:
    return ", ".join(str(number) for number in array.ravel().tolist())


BEFORE = f"""g (float[N,32] x) => (float[N,4] y) <float[32,4] w = {{{listed(NUMBERS * SCALES[0])}}}>
  {{ y = MatMul(x, w) }}"""


def filled(text: str, seed: int = 3) -> ir.Model:
    model, rng = model_of(text), np.random.default_rng(seed)
    for value in list(model.graph.inputs)[1:]:
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(rng.normal(size=value.shape.numpy()).astype(np.float32) / 8, name=value.name)
        model.graph.register_initializer(value)
    return model


def correlated(count: int, seed: int = 4) -> dict[str, np.ndarray]:
    """Samples with much in common, as real activations have: there rounding together gains most."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, 8)) @ np.random.default_rng(9).normal(size=(8, 64))
    return {"x": (mixed + 0.1 * rng.normal(size=(count, 64))).astype(np.float32)}


def sqnr(model: ir.Model, small: ir.Model, feeds: dict[str, np.ndarray]) -> float:
    wanted, got = (Session(m, OPTIONS).run(feeds)["y"] for m in (model, small))
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2)))


@pytest.mark.parametrize("form", ["qdq", "matmulnbits"])
def test_samples_bring_four_bits_nearer_in_blocks(form: str) -> None:
    model, found = filled(TEXT), {}
    for effort in ("fast", "default"):
        small = clone(model)
        passed = QuantizeWeights(weights="int4", format=form, effort=effort)
        told = list(passed.run(small, context(small, data=correlated(160), target="ort-x86-vnni")))
        assert ("QUANT-STEP" in {f.code for f in told}) == (effort == "default")
        found[effort] = sqnr(model, small, correlated(200, seed=5))
    assert found["default"] > found["fast"] + 2, found


def test_eight_bits_are_rounded_anew_at_best_effort_alone() -> None:
    model = filled(TEXT)
    for effort, steps in (("default", 0), ("best", 1)):
        small = clone(model)
        told = list(QuantizeWeights(effort=effort).run(small, context(small, data=correlated(64))))
        assert [f.code for f in told].count("QUANT-STEP") == steps


def test_what_unseen_samples_do_not_bear_out_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnxcompress.passes.quantization import weight_only

    def spoil(model: ir.Model, *_: object) -> list[object]:
        stored = next(v for name, v in model.graph.initializers.items() if name.endswith("_quantized"))
        assert stored.const_value is not None
        stored.const_value = ir.tensor(np.zeros_like(stored.const_value.numpy()), dtype=ir.DataType.INT4)
        return []

    monkeypatch.setattr(weight_only, "round_weights", spoil)
    model, kept = filled(TEXT), {}
    for effort in ("fast", "default"):
        kept[effort] = clone(model)
        told = list(
            QuantizeWeights(weights="int4", effort=effort).run(kept[effort], context(model, data=correlated(32)))
        )
    assert [f.numbers["kept"] for f in told if f.code == "QUANT-STEP"] == [0]
    wanted, got = (Session(kept[effort], OPTIONS).run(correlated(8))["y"] for effort in ("fast", "default"))
    np.testing.assert_array_equal(wanted, got)


def test_four_bit_blocks_as_text() -> None:
    assert_pass(
        BEFORE,
        QuantizeWeights(weights="int4", clip="none", block=16),
        f"""{HEADER}g (float[N,32] x) => (float[N,4] y)
          <int4[32,4] w_quantized = {{{listed(NUMBERS)}}}, float[2,4] w_scale = {{{listed(SCALES)}}}>
          {{ w_dequantized = DequantizeLinear<axis=0, block_size=16>(w_quantized, w_scale)
            y = MatMul(x, w_dequantized) }}""",
        ["QUANT-OPSET", "QUANT-WEIGHTS"],
    )


def test_onnxruntimes_four_bit_product_as_text() -> None:
    nibbles = (NUMBERS.T + 8).reshape(4, 2, 8, 2)
    assert_pass(
        BEFORE,
        QuantizeWeights(weights="int4", clip="none", block=16, format="matmulnbits"),
        f"""{HEADER_OF_TWO}g (float[N,32] x) => (float[N,4] y)
          <uint8[4,2,8] w_packed = {{{listed(nibbles[..., 0] + 16 * nibbles[..., 1])}}},
            float[4,2] w_steps = {{{listed(SCALES.T)}}}>
          {{ y = com.microsoft.MatMulNBits<K=32, N=4, bits=4, block_size=16>(x, w_packed, w_steps) }}""",
        ["QUANT-OPSET", "QUANT-WEIGHTS"],
    )
