from __future__ import annotations

import numpy as np
import pytest
from builders.placements import model_with, placed

from onnxcompress.graph import set_constant
from onnxcompress.passes.quantization.saturation import check, pair_sums
from onnxcompress.targets import load_target

TEXTS = {
    "MatMul": ("y = MatMul(x, w)", (4, 3)),
    "Gemm": ("y = Gemm(x, w)", (4, 3)),
    "turned": ("y = Gemm<transB=1>(x, w)", (3, 4)),
    "Conv": ("y = Conv(x, w)", (3, 4, 1, 1)),
}
INNER = {"MatMul": 0, "Gemm": 0, "turned": 1, "Conv": 1}


def quantized(kind: str, column: list[int], target: str = "ort-x86-vnni"):
    body, size = TEXTS[kind]
    shape = "N,4,2,2" if kind == "Conv" else "N,4"
    model = model_with(f"g (float[{shape}] x) => (float[{shape.replace('4', '3')}] y) {{ {body} }}", {"w": size})
    placed(model, target)
    weight = np.ones((3, 4), np.int8)
    weight[1] = column
    weight = weight if INNER[kind] else weight.T
    set_constant(model.graph.initializers["w_quantized"], np.ascontiguousarray(weight.reshape(size)))
    return model


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize(
    ("column", "most"),
    [
        ([100, 27, 100, 28], 255 * 128),
        ([100, -100, 1, 1], 255 * 100),  # products of opposite sign do not add up
        ([-90, -60, 1, 1], 255 * 150),
        ([1, 127, 127, 1], 255 * 128),  # the two large ones are no pair
    ],
)
def test_the_sum_is_taken_over_neighbours_of_one_sign(kind: str, column: list[int], most: int) -> None:
    assert list(pair_sums(quantized(kind, column)).values()) == [most]


def test_what_may_saturate_is_named_and_vnni_has_no_limit() -> None:
    model = quantized("MatMul", [127, 127, 1, 1])
    findings = list(check(model, load_target("ort-x86")))
    assert [f.code for f in findings] == ["QUANT-PAIR-SUM", "QUANT-SATURATES"]
    assert findings[0].numbers == {"largest": 255 * 254, "limit": 32767, "layers": 1, "over": 1}
    assert list(check(model, load_target("ort-x86-vnni"))) == []


def test_seven_bits_always_fit() -> None:
    model = model_with("g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", {"w": (64, 64)})
    placed(model, "ort-x86")
    assert 0 < max(pair_sums(model).values()) <= 255 * 126 < 32767


def test_depthwise_convolutions_widen_first() -> None:
    model = model_with("g (float[N,4,4,4] x) => (float[N,4,2,2] y) { y = Conv<group=4>(x, w) }", {"w": (4, 1, 3, 3)})
    placed(model, "ort-x86")
    assert pair_sums(model) == {}
