"""Integer weights in every form a file holds them: trained with fake quantization, back on the grid exactly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model
from builders.distill_steps import equal, trained, untrained

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.optimization import Stepper
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.passes.quantization.products_of_bits import packed

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 6)).astype(np.float32)
HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'

PRODUCT = """net (float[N, 6] x) => (float[N, 5] y) {
    c = Cast <to = 1> (q)
    w = Mul (c, s)
    y = MatMul (x, w)
}"""


def product(scale: np.ndarray, swapped: bool = False) -> ir.Model:
    text = PRODUCT.replace("Mul (c, s)", "Mul (s, c)") if swapped else PRODUCT
    return model(HEAD + text, {"q": RNG.integers(-100, 100, (6, 5)).astype(np.int8), "s": scale.astype(np.float32)})


SHAPES = {"tensor": (), "column": (5,), "laid": (1, 5), "row": (6, 1)}


@pytest.mark.parametrize("form", SHAPES)
@pytest.mark.parametrize("scales", [False, True])
def test_behind_cast_and_mul(form: str, scales: bool) -> None:
    made = product(RNG.uniform(0.02, 0.022, SHAPES[form]) + np.zeros(SHAPES[form]), swapped=form == "row")
    before = array(made, "q").copy()
    changed = trained(made, {"x": X}, step=0.03, scales=scales)
    assert changed == ({"q", "s"} if scales else {"q"})
    assert array(made, "q").dtype == np.int8
    assert [node.op_type for node in made.graph] == ["Cast", "Mul", "MatMul"]
    assert 0.5 < np.abs(array(made, "q").astype(int) - before).mean() < 3


@pytest.mark.parametrize(("pruned", "sparse"), [(0.0, 0), (0.5, 1)])
def test_zeros_that_a_coarse_grid_rounds_to_are_no_pruning(pruned: float, sparse: int) -> None:
    made, draw = product(np.array(0.5)), np.random.default_rng(3)
    numbers = np.rint(draw.normal(size=(6, 200)) / 0.5) * (draw.random((6, 200)) >= pruned)
    assert (numbers == 0).mean() > 0.19
    made.graph.initializers["q"].const_value = ir.tensor(numbers.astype(np.int8), name="q")
    assert Stepper(Bridge(made).trainable()).sparse == sparse


def test_positions_before_a_cast_and_a_mul_are_no_weight() -> None:
    made = product(np.array(0.02))
    value = made.graph.initializers["q"]
    value.const_value = ir.tensor(np.arange(30, dtype=np.int32).reshape(6, 5), name="q")
    assert Bridge(made, scales=True).weights == []


def test_integers_with_two_scales_are_left_alone_and_told() -> None:
    text = PRODUCT.replace("y = MatMul (x, w)", "v = Mul (c, t)  a = MatMul (x, w)  b = MatMul (x, v)  y = Add (a, b)")
    weights = {"q": np.ones((6, 5), np.int8), "s": np.float32(0.1), "t": np.float32(0.2)}
    bridge = Bridge(model(HEAD + text, {n: np.asarray(a) for n, a in weights.items()}))
    assert bridge.weights == []
    assert [(f.code, f.node) for f in bridge.findings] == [("DISTILL-GRID-UNCLEAR", "q")]


def bits_model(bits: int, depth: int, zeros: str) -> ir.Model:
    """x[N, K] by packed [5, K] in blocks of 16; `zeros` is none, packed or float."""
    blocks, per_byte = -(-depth // 16), 8 // bits
    weights: dict[str, np.ndarray] = {
        "q": RNG.integers(0, 256, (5, blocks, 16 // per_byte)).astype(np.uint8),
        "s": RNG.uniform(0.01, 0.02, (5, blocks)).astype(np.float32),
    }
    if zeros == "packed":
        weights["z"] = RNG.integers(0, 256, (5, -(-blocks // per_byte))).astype(np.uint8)
    if zeros == "float":
        weights["z"] = RNG.integers(0, 2**bits, (5, blocks)).astype(np.float32)
    inputs = "x, q, s, z" if "z" in weights else "x, q, s"
    text = f"""net (float[N, {depth}] x) => (float[N, 5] y) {{
        y = com.microsoft.MatMulNBits <K = {depth}, N = 5, bits = {bits}, block_size = 16> ({inputs}) }}"""
    return model(HEAD + text, weights)


@pytest.mark.parametrize(
    ("bits", "depth", "zeros"), [(4, 32, "none"), (4, 37, "packed"), (4, 48, "float"), (8, 21, "packed")]
)
@pytest.mark.parametrize("scales", [False, True])
def test_packed_in_blocks(bits: int, depth: int, zeros: str, scales: bool) -> None:
    made = bits_model(bits, depth, zeros)
    x = RNG.normal(size=(4, depth)).astype(np.float32)
    before = array(made, "q").copy()
    changed = trained(made, {"x": x}, step=0.02, scales=scales, atol=1e-4)
    assert changed == ({"q", "s"} if scales else {"q"})
    assert array(made, "q").dtype == np.uint8
    assert (array(made, "q") != before).mean() > 0.3
    bridge = untrained(made)
    (weight,) = bridge.weights
    assert weight.grid is not None
    np.testing.assert_array_equal(weight.grid.packed(weight.grid.spread(before), before.shape), before)


def test_a_zero_point_between_two_numbers_keeps_the_weight_as_it_is() -> None:
    made = bits_model(4, 32, "float")
    value = made.graph.initializers["z"]
    value.const_value = ir.tensor(array(made, "z") + np.float32(0.5), name="z")
    bridge = untrained(made)
    assert bridge.weights == []
    assert [(f.code, f.node) for f in bridge.findings] == [("DISTILL-GRID-UNCLEAR", "q")]
    equal(bridge, made, {"x": RNG.normal(size=(4, 32)).astype(np.float32)}, atol=1e-4)


def test_numbers_in_the_gap_of_the_last_block_stay() -> None:
    made = bits_model(4, 21, "none")
    before = array(made, "q").copy()
    trained(made, {"x": RNG.normal(size=(4, 21)).astype(np.float32)}, step=0.1, atol=1e-4)
    after = array(made, "q")
    np.testing.assert_array_equal(after[:, 1, 3:], before[:, 1, 3:])
    np.testing.assert_array_equal(after[:, 1, 2] >> 4, before[:, 1, 2] >> 4)
    assert (after[:, 1, :2] != before[:, 1, :2]).any()


def test_what_the_quantizer_packs_is_what_is_trained() -> None:
    numbers = RNG.integers(-8, 8, (32, 5)).astype(ml_dtypes.int4)
    made = bits_model(4, 32, "none")
    value = made.graph.initializers["q"]
    value.const_value = ir.tensor(packed(numbers, 16), name="q")
    (parameter,) = Bridge(made).parameters
    wanted = numbers.astype(np.float32).T.reshape(5, 2, 16) * array(made, "s")[..., None]
    np.testing.assert_allclose(parameter.detach(), wanted, rtol=1e-6)


def test_no_number_leaves_its_grid() -> None:
    made = bits_model(4, 32, "packed")
    bridge = Bridge(made)
    start = snapshot(bridge)
    with torch.no_grad():
        bridge.parameters[0] += torch.from_numpy(RNG.normal(size=(5, 2, 16)).astype(np.float32))
    write_back(made, bridge, start)
    grid = bridge.weights[0].grid
    assert grid is not None
    indices = grid.spread(array(made, "q"))
    wanted = np.clip(np.round(bridge.parameters[0].detach().numpy() / grid.scale) + grid.zero, 0, 15)
    np.testing.assert_array_equal(indices, wanted)
    equal(bridge, made, {"x": RNG.normal(size=(4, 32)).astype(np.float32)}, atol=1e-4)
