"""What real files hold that a plain rebuild would get wrong: one whole model for each."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model
from builders.distill_steps import equal, gradient, trained, untrained

from onnxcompress import model_io
from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.trainer import snapshot
from onnxcompress.distill.write_back import write_back
from onnxcompress.runtime import Session

RNG = np.random.default_rng(0)
HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


TIED = """net (int64[N, 4] ids) => (float[N, 4, 7] y) {
    e = Gather (table, ids)
    h = MatMul (e, w)
    a = Tanh (h)
    t = Transpose <perm = [1, 0]> (table)
    y = MatMul (a, t)
}"""


def test_an_embedding_that_is_the_last_layer_gets_both_gradients_and_stays_one() -> None:
    made, feeds = model(HEAD + TIED, {"table": normal(7, 3), "w": normal(3, 3)}), {"ids": RNG.integers(0, 7, (2, 4))}
    bridge = Bridge(made)
    bridge.specialise(feeds).run(feeds)["y"].square().sum().backward()
    table = torch.from_numpy(array(made, "table"))
    ways = [table.clone().requires_grad_() for _ in range(2)]
    e = torch.nn.functional.embedding(torch.from_numpy(feeds["ids"]), ways[0])
    (torch.tanh(e @ torch.from_numpy(array(made, "w"))) @ ways[1].T).square().sum().backward()
    found = {w.name: gradient(p) for w, p in bridge.trainable()}
    torch.testing.assert_close(found["table"], gradient(ways[0]) + gradient(ways[1]), rtol=1e-4, atol=1e-4)
    assert trained(made, feeds) == {"table", "w"}
    assert set(made.graph.initializers) == {"table", "w"}


def half(kind: str) -> ir.Model:
    """MatMul and Add whose weights are stored in a 16-bit type, in float32 arithmetic for bfloat16."""
    dtype = np.float16 if kind == "FLOAT16" else ml_dtypes.bfloat16
    weights = {"w": normal(4, 3).astype(dtype), "b": normal(3).astype(dtype)}
    if kind == "FLOAT16":
        return model(HEAD + "net (float16[N, 4] x) => (float16[N, 3] y) { m = MatMul (x, w)  y = Add (m, b) }", weights)
    text = """net (float[N, 4] x) => (float[N, 3] y) {
        v = Cast <to = 1> (w)  c = Cast <to = 1> (b)  m = MatMul (x, v)  y = Add (m, c) }"""
    return model(HEAD + text, weights)


@pytest.mark.parametrize("kind", ["FLOAT16", "BFLOAT16"])
def test_sixteen_bit_weights_have_a_master_copy_that_small_steps_reach(kind: str) -> None:
    made = half(kind)
    bridge = untrained(made)
    start = snapshot(bridge)
    assert {p.dtype for p in bridge.parameters} == {torch.float32}
    before = {n: array(made, n).astype(np.float32) for n in ("w", "b")}
    for _ in range(64):  # each step is far below the spacing of the stored numbers, all together are above it
        with torch.no_grad():
            for _, parameter in bridge.trainable():
                parameter += 0.05 / 64
    assert set(write_back(made, bridge, start)) == {"w", "b"}
    for name, old in before.items():
        tensor = made.graph.initializers[name].const_value
        assert tensor is not None
        assert tensor.dtype == ir.DataType[kind]
        np.testing.assert_allclose(tensor.numpy().astype(np.float32), old + 0.05, rtol=8e-3, atol=1e-3)


def test_float16_that_would_overflow_ends_at_the_largest_number() -> None:
    made = half("FLOAT16")
    bridge = Bridge(made)
    start = snapshot(bridge)
    with torch.no_grad():
        bridge.parameters[0][0, 0] = 1e6
    write_back(made, bridge, start)
    assert array(made, "w")[0, 0] == np.finfo(np.float16).max


NARROW = {"int4": (ml_dtypes.int4, -8, 7), "uint4": (ml_dtypes.uint4, 0, 15)}


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("block", [0, 2, 3])
def test_four_bit_weights_of_odd_sizes(kind: str, block: int, tmp_path: Path) -> None:
    dtype, low, high = NARROW[kind]
    shape = (5,) if not block else (-(-7 // block), 5)
    weights = {
        "w": RNG.integers(low, high + 1, (7, 5)).astype(dtype),
        "s": RNG.uniform(0.05, 0.06, shape).astype(np.float32),
        "z": RNG.integers(low, high + 1, shape).astype(dtype),
    }
    axis, size = ("1", "") if not block else ("0", f", block_size = {block}")
    text = f"""net (float[N, 7] x) => (float[N, 5] y) {{
        d = DequantizeLinear <axis = {axis}{size}> (w, s, z)  y = MatMul (x, d) }}"""
    made, feeds = model(HEAD + text, weights), {"x": normal(3, 7)}
    before = array(made, "w").astype(int)
    bridge = untrained(made)
    start = snapshot(bridge)
    with torch.no_grad():
        bridge.parameters[0] += torch.from_numpy(normal(7, 5) * 0.2)
    wanted = bridge.specialise(feeds).run(feeds)["y"].detach().numpy()
    assert write_back(made, bridge, start) == ["w"]
    model_io.save(made, tmp_path / "out.onnx")
    again = model_io.load(tmp_path / "out.onnx")
    numbers = array(again, "w").astype(int)
    assert (numbers != before).any()
    assert low <= numbers.min() <= numbers.max() <= high
    np.testing.assert_allclose(Session(again, optimize=False).run(feeds)["y"], wanted, rtol=1e-4, atol=1e-5)


def test_constants_that_are_inputs_are_trained_and_stay_inputs() -> None:
    text = "net (float[N, 4] x) => (float[N, 3] y) { m = MatMul (x, w)  y = Add (m, b) }"
    made = model(HEAD + text, {"w": normal(4, 3), "b": normal(3)})
    made.ir_version = 3
    made.graph.inputs.extend(made.graph.initializers.values())
    assert trained(made, {"x": normal(2, 4)}) == {"w", "b"}
    assert [v.name for v in made.graph.inputs] == ["x", "w", "b"]


def test_external_data_is_read_and_the_file_on_disk_stays(tmp_path: Path) -> None:
    made = model(HEAD + "net (float[N, 40] x) => (float[N, 30] y) { y = MatMul (x, w) }", {"w": normal(40, 30)})
    ir.save(made, tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    data = (tmp_path / "m.data").read_bytes()
    assert len(data) >= 4800
    loaded = model_io.load(tmp_path / "m.onnx")
    assert trained(loaded, {"x": normal(2, 40)}) == {"w"}
    assert (tmp_path / "m.data").read_bytes() == data
    assert not np.array_equal(array(loaded, "w"), array(made, "w"))


@pytest.mark.parametrize("limits", ["a, low, high", "a, low", "a, , high"])
def test_limits_of_a_clip_are_no_weights(limits: str) -> None:
    text = f"""net (float[N, 4] x) => (float[N, 3] y) <float low = {{0}}, float high = {{6}}> {{
        a = Gemm (x, w, b)  c = Clip ({limits})  y = MatMul (c, v) }}"""
    made = model(HEAD + text, {"w": normal(4, 3) * 5, "b": normal(3), "v": normal(3, 3)})
    assert trained(made, {"x": normal(5, 4)}, atol=1e-4) == {"w", "b", "v"}


# Left padding: the first rows of the mask allow nothing, and the exporter cleans the NaN that Softmax gives there.
ATTENTION = """net (float[N, 4, 6] x, bool[N, 4, 4] allowed) => (float[N, 4, 6] y)
<float zero = {0}, float none = {-inf}, float half = {0.5}> {
    q = MatMul (x, wq)
    k = MatMul (x, wk)
    v = MatMul (x, wv)
    t = Transpose <perm = [0, 2, 1]> (k)
    s = MatMul (q, t)
    h = Mul (s, half)
    mask = Where (allowed, zero, none)
    m = Add (h, mask)
    p = Softmax <axis = -1> (m)
    dead = IsNaN (p)
    c = Where (dead, zero, p)
    o = MatMul (c, v)
    y = Add (o, x)
}"""


def test_rows_of_attention_that_see_nothing_leave_every_gradient_finite() -> None:
    weights = {"wq": normal(6, 6), "wk": normal(6, 6), "wv": normal(6, 6), "none": np.array(-np.inf, np.float32)}
    made = model(HEAD + ATTENTION.replace(", float none = {-inf}", ""), weights)
    allowed = np.tril(np.ones((2, 4, 4), bool))
    allowed[1, :, :2] = False
    feeds = {"x": normal(2, 4, 6), "allowed": allowed}
    bridge = Bridge(made)
    equal(bridge, made, feeds)["y"].square().sum().backward()
    grads = {w.name: gradient(p) for w, p in bridge.trainable()}
    assert set(grads) == {"wq", "wk", "wv"}
    assert all(bool(torch.isfinite(g).all()) and float(g.abs().sum()) > 0 for g in grads.values())
    assert trained(made, feeds, step=0.001) == {"wq", "wk", "wv"}


def test_numbers_in_typed_fields_are_trained_as_raw_ones() -> None:
    """The text format stores float_data; a file on disk mostly raw_data."""
    text = "net (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> { y = MatMul (x, w) }"
    assert trained(model(HEAD + text), {"x": normal(3, 2)}) == {"w"}
