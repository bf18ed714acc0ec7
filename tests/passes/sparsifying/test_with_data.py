from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import NETS, net

from onnxcompress import graph
from onnxcompress.data import ArraySource
from onnxcompress.passes.prune_weights import PruneWeights
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.testing import context

TEXT = (
    "g (float[N,8,6,6] x) => (float[N,5] y) { a = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(a) "
    "d = Conv<group=16, pads=[1,1,1,1]>(r, w1) s = Relu(d) e = Conv<group=2>(s, w2) t = Relu(e) "
    "p = GlobalAveragePool(t) f = Flatten(p) h = MatMul(f, w3) k = Add(h, b3) y = Gemm<transB=1>(k, w4, b4) }"
)
SHAPES = {
    "w0": (16, 8, 3, 3), "b0": (16,), "w1": (16, 1, 3, 3), "w2": (8, 8, 1, 1), "w3": (8, 12), "b3": (12,),
    "w4": (5, 12), "b4": (5,),
}  # fmt: skip


def images(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, 8, 6, 6)) + 2 * rng.normal(size=(count, 1, 6, 6)) + 0.5
    return mixed.astype(np.float32)


def pruned(model: ir.Model, x: np.ndarray, *, memory: int = 1 << 30, **options) -> list[Finding]:
    ctx = context(model, data=ArraySource({"x": x}), memory_bytes=memory)
    return list(PruneWeights(**options).run(model, ctx))


def error(model: ir.Model, before: ir.Model) -> float:
    x = images(64, seed=9)
    ours, theirs = (Session(m).run({"x": x})["y"] for m in (model, before))
    return float(np.square(ours - theirs).sum() / np.square(theirs).sum())


def shares(model: ir.Model) -> dict[str, float]:
    values = {name: value.const_value.numpy() for name, value in model.graph.initializers.items()}
    return {name: float((array == 0).mean()) for name, array in values.items() if name in SHAPES and name[0] == "w"}


@pytest.mark.parametrize(
    "options",
    [
        {"sparsity": 0.5}, {"sparsity": 0.8}, {"weights": "global", "sparsity": 0.5}, {"weights": "2:4"},
        {"weights": "histogram", "cut": "percentile", "sparsity": 0.6}, {"threshold": 0.3},
    ],
)  # fmt: skip
def test_data_lowers_the_error_at_the_same_zeros(options):
    before = net(TEXT, SHAPES)
    plain, updated = graph.clone(before), graph.clone(before)
    list(PruneWeights(**options).run(plain, context(plain)))
    findings = pruned(updated, images(80), **options)
    assert shares(updated) == pytest.approx(shares(plain))
    assert error(updated, before) < 0.7 * error(plain, before)
    layers = [f.numbers for f in findings if f.code == "PRUNE-SPARSITY"]
    assert all(n["error"] <= n["error_by_magnitude"] for n in layers if n["zeros"])


def test_a_pattern_holds_along_the_input_channels_with_data_too():
    model = net(TEXT, SHAPES)
    pruned(model, images(80), weights="2:4")
    for name, axis in {"w0": 1, "w2": 1, "w3": 0, "w4": 1}.items():
        grouped = np.moveaxis(model.graph.initializers[name].const_value.numpy(), axis, -1).reshape(-1, 4)
        assert ((grouped != 0).sum(axis=1) <= 2).all()


@pytest.mark.parametrize("x", [images(1), np.zeros((20, 8, 6, 6), np.float32), np.ones((3, 8, 6, 6), np.float32)])
def test_one_sample_and_constant_inputs_give_finite_weights(x):
    model = net(TEXT, SHAPES)
    pruned(model, x, sparsity=0.6)
    arrays = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert all(np.isfinite(array).all() for array in arrays)
    assert shares(model) == pytest.approx(dict.fromkeys(shares(model), 0.6), abs=0.01)


def test_the_same_samples_give_the_same_bytes():
    first, second = net(TEXT, SHAPES), net(TEXT, SHAPES)
    for model in (first, second):
        pruned(model, images(40), sparsity=0.7, rows=500)
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()


def test_where_memory_is_short_the_diagonal_decides():
    before = net(TEXT, SHAPES)
    model, plain = graph.clone(before), graph.clone(before)
    findings = pruned(model, images(80), memory=100_000, sparsity=0.5)
    list(PruneWeights(sparsity=0.5).run(plain, context(plain)))
    assert [f.node for f in findings if f.code == "PRUNE-WEIGHTS-DIAGONAL"] == ["a"]
    assert error(model, before) < error(plain, before)


@pytest.mark.parametrize("name", ["bidirectional lstm", "gru with made state"])
def test_recurrent_weights_go_by_magnitude_and_say_so(name):
    model = NETS[name]()
    data = ArraySource({"x": np.random.default_rng(0).normal(size=(8, 6, 10)).astype(np.float32)})
    findings = list(PruneWeights().run(model, context(model, data=data)))
    told = [f for f in findings if f.code == "PRUNE-WEIGHTS-MAGNITUDE"]
    assert told
    assert all("no closed form" in f.message for f in told)


def test_a_layer_that_two_places_read_goes_by_magnitude():
    text = "g (float[N,8] x) => (float[N,8] y) { a = MatMul(x, w0) y = MatMul(a, w0) }"
    model = net(text, {"w0": (8, 8)})
    data = ArraySource({"x": np.ones((20, 8), np.float32)})
    findings = list(PruneWeights().run(model, context(model, data=data)))
    assert [f.message for f in findings if f.code == "PRUNE-WEIGHTS-MAGNITUDE"] == [
        "chosen by magnitude alone, nothing moved: its weight has several readers"
    ]


def test_sparsity_zero_changes_nothing():
    model = net(TEXT, SHAPES)
    before = ir.to_proto(model).SerializeToString()
    pruned(model, images(40), sparsity=0.0)
    assert ir.to_proto(model).SerializeToString() == before
