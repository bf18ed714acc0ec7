"""Any scales for the classes that the walk finds leave the function as it is."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.equality import difference, run
from builders.strategies import models
from hypothesis import HealthCheck, given, settings

from onnxcompress.graph import clone
from onnxcompress.passes.quantization.equalization.apply import write
from onnxcompress.passes.quantization.equalization.walk import mark
from onnxcompress.shapes import ShapeTable, infer
from onnxcompress.testing import model_of, random_feeds

DEFAULT = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def scaled(model: ir.Model, seed: int = 0) -> tuple[ir.Model, int, set[str]]:
    """The model under random powers of two, the number of constants changed, and the tensors with a scale."""
    copy = clone(model)
    marks = mark(copy, infer(copy))
    rng = np.random.default_rng(seed)
    scales = np.exp2(rng.integers(-3, 4, len(marks.atoms)))
    scales[0] = 1.0
    named = {v.name or "" for v, ids in marks.ids.items() if marks.free(ids)}
    return copy, write(marks, scales), named


def check(model: ir.Model) -> tuple[int, set[str]]:
    after, changed, named = scaled(model)
    feeds = random_feeds(model, 1, batch=3)
    assert difference(run(ir.to_proto(model), feeds), run(ir.to_proto(after), feeds), 1e-5) == ""
    return changed, named


@DEFAULT
@given(models())
def test_random_scales_keep_the_function(model: ir.Model) -> None:
    check(model)


HEAD = '<ir_version: 10, opset_import: ["": 21]>\n'
W4, W44 = "float[4] k = {1, 2, 3, 4}", "float[4,4] w = {1,2,3,4, 4,3,2,1, 1,0,2,1, 0,1,1,3}"
U44 = "float[4,4] u = {1,0,3,1, 2,3,0,1, 1,1,2,1, 2,1,1,0}"
BETWEEN = {
    "relu": "r = Relu(h)",
    "leaky relu": "r = LeakyRelu<alpha = 0.3>(h)",
    "a constant term": "r = Add(h, k)",
    "a scaling": "r = Mul(h, k)",
    "a division": "r = Div(h, k)",
    "a maximum with a constant": "r = Max(h, k)",
    "a sum with itself": "a = Relu(h) r = Add(a, h)",
    "a gate": "s = Sigmoid(x) r = Mul(h, s)",
    "a clip at zero": "r = Clip(h, zero)",
    "a clip at a list of one": "r = Clip(h, one)",
    "movement": "t = Transpose<perm = [1, 0]>(h) q = Transpose<perm = [1, 0]>(t) r = Concat<axis = 1>(q)",
    "a split put together the other way round": "a, b = Split<axis = 1, num_outputs = 2>(h) r = Concat<axis = 1>(b, a)",
    "a choice": "c = Greater(x, k) r = Where(c, h, k)",
    "a layer norm behind": "n = LayerNormalization(h, k, k) r = Relu(n)",
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN.keys())
def test_a_scale_passes(between: str) -> None:
    text = f"g (float[N,4] x) => (float[N,4] y) <{W44}, {U44}, {W4}, float zero = {{0}}, float[1] one = {{0}}> "
    changed, named = check(model_of(HEAD + text + f"{{ h = MatMul(x, w) {between} y = MatMul(r, u) }}"))
    assert changed >= 2
    assert "r" in named


def test_without_shapes_nothing_is_scaled() -> None:
    ops = "h = MatMul(x, w) a = ReduceMean(h, axes) q = Pad(a, pads) r = Concat<axis = 0>(q, q) y = MatMul(r, u)"
    text = f"g (float[N,4] x) => (float[N,4] y) <{W44}, {U44}, int64[1] axes = {{0}}, int64[4] pads = {{0,0,1,0}}> "
    found = mark(model_of(HEAD + text + "{" + ops + "}"), ShapeTable())
    assert not any(found.free(ids) for ids in found.ids.values())


@pytest.mark.parametrize(
    "between", ["r = Tanh(h)", "r = Clip(h, zero, six)", "r = Softmax(h)", "r = Mul(h, h)", "r = Add(h, x)"]
)
def test_a_scale_does_not_pass(between: str) -> None:
    text = f"g (float[N,4] x) => (float[N,4] y) <{W44}, {U44}, float zero = {{0}}, float six = {{6}}> "
    _, named = check(model_of(HEAD + text + f"{{ h = MatMul(x, w) {between} y = MatMul(r, u) }}"))
    assert not {"h", "r"} & named


CONVS = {
    "depthwise": ("c = Conv<group = 4, pads = [1,1,1,1]>(r, d)", "d", (4, 1, 3, 3)),
    "grouped": ("c = Conv<group = 2>(r, d)", "d", (6, 2, 1, 1)),
    "transposed, grouped": ("c = ConvTranspose<group = 2>(r, d)", "d", (4, 3, 2, 2)),
    "pooled and padded": ("q = MaxPool<kernel_shape = [2,2]>(r) p = Pad(q, pads) c = Conv(p, d)", "d", (3, 4, 1, 1)),
    "depth to space": ("q = DepthToSpace<blocksize = 2>(r) c = Conv(q, d)", "d", (3, 1, 1, 1)),
    "flattened": ("q = Flatten(r) c = MatMul(q, d)", "d", (64, 3)),
    "averaged": ("q = ReduceMean<keepdims = 0>(r, axes) c = MatMul(q, d)", "d", (4, 3)),
}


@pytest.mark.parametrize("case", CONVS.values(), ids=CONVS.keys())
def test_a_scale_passes_between_convolutions(case: tuple[str, str, tuple[int, ...]]) -> None:
    text, name, shape = case
    rng = np.random.default_rng(0)
    rank = len(shape)
    out = "float[N,O]" if rank == 2 else "float[N,O,H,W]"
    body = f"{{ h = Conv(x, w, b) r = PRelu(h, slope) {text} y = Identity(c) }}"
    model = model_of(
        HEAD
        + f"g (float[N,3,4,4] x) => ({out} y) <int64[8] pads = {{0,0,1,1,0,0,1,1}}, int64[2] axes = {{2,3}}> {body}"
    )
    arrays = {"w": (4, 3, 1, 1), "b": (4,), "slope": (4, 1, 1), name: shape}
    for key, size in arrays.items():
        array = rng.normal(size=size).astype(np.float32)
        value = next(v for n in model.graph for v in n.inputs if v is not None and v.name == key)
        value.const_value = ir.tensor(array, name=key)
        value.shape, value.type = ir.Shape(size), ir.TensorType(ir.DataType.FLOAT)
        model.graph.register_initializer(value)
    changed, _ = check(model)
    assert changed == 3  # both weights and the bias
