"""Blocks that keep equal counts and choose for themselves: before and after, as text."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import NETS, net

from onnxcompress.cost import costs
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.report import Finding
from onnxcompress.testing import context


def pruned(model: ir.Model, **options) -> list[Finding]:
    findings = list(PruneChannels(ratio=0.5, score="l2", **options).run(model, context(model, verify="full")))
    codes = {finding.code for finding in findings}
    assert codes & {"PRUNE-EXACT", "PRUNE-STATISTICS"}
    return findings


def numbers(model: ir.Model) -> dict[str, list]:
    return {n: v.const_value.numpy().tolist() for n, v in model.graph.initializers.items() if v.const_value is not None}


def sizes(model: ir.Model) -> dict[str, list[int]]:
    return {n: list(v.const_value.shape) for n, v in model.graph.initializers.items() if v.const_value is not None}


def columns(strong: list[int], width: int, rows: int = 3) -> np.ndarray:
    """[rows, width]: columns `strong` are large, each number tells its column."""
    matrix = np.tile(0.001 * (1 + np.arange(width, dtype=np.float32)), (rows, 1))
    matrix[:, strong] += 1
    return matrix


ATTENTION = """g (float[N,6,3] x) => (float[N,6,2] y) {
    q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv) qh = Reshape(q, split) kh = Reshape(k, split)
    vh = Reshape(v, split) qt = Transpose<perm=[0,2,1,3]>(qh) kt = Transpose<perm=[0,2,3,1]>(kh)
    vt = Transpose<perm=[0,2,1,3]>(vh) s = MatMul(qt, kt) p = Softmax(s) o = MatMul(p, vt)
    ot = Transpose<perm=[0,2,1,3]>(o) f = Reshape(ot, merge) y = MatMul(f, wo) }"""


def attention(queries: list[int], values: list[int]) -> ir.Model:
    """Two heads of four; the channels that are given are the strong ones."""
    given = {
        "wq": columns(queries, 8),
        "wk": columns(queries, 8),
        "wv": columns(values, 8),
        "wo": np.ones((8, 2), np.float32) * np.arange(1, 9, dtype=np.float32)[:, None] * 0.001,
        "split": np.array([0, 0, 2, 4]),
        "merge": np.array([0, 0, 8]),
    }
    return net(ATTENTION, {}, **given)


def test_each_head_keeps_its_own_dims():
    model = attention([0, 3, 5, 6], [1, 2, 4, 5])
    before = numbers(model)
    pruned(model, heads="dims")
    after = numbers(model)
    assert after["split"] == [0, 0, 2, 2]
    assert after["merge"] == [0, 0, 4]
    assert after["wq"] == np.array(before["wq"])[:, [0, 3, 5, 6]].tolist()
    assert after["wk"] == np.array(before["wk"])[:, [0, 3, 5, 6]].tolist()
    assert after["wv"] == np.array(before["wv"])[:, [1, 2, 4, 5]].tolist()
    assert after["wo"] == np.array(before["wo"])[[1, 2, 4, 5]].tolist()
    kept = model.meta["onnxcompress.kept"]
    assert kept["q"] == {2: [0, 3, 5, 6]}
    assert 3 not in kept.get("qh", {}), "no single list is true of both heads"


def test_whole_heads_go_together():
    model = attention([4, 5, 6, 7], [4, 5, 6, 7])
    before = numbers(model)
    pruned(model, heads="whole")
    after = numbers(model)
    assert after["split"] == [0, 0, 1, 4]
    assert after["merge"] == [0, 0, 4]
    assert after["wq"] == np.array(before["wq"])[:, 4:].tolist()
    assert after["wo"] == np.array(before["wo"])[4:].tolist()


@pytest.mark.parametrize(("strong", "split"), [([4, 5, 6, 7], [0, 0, 1, 4]), ([0, 3, 5, 6], [0, 0, 2, 2])])
def test_heads_or_dims_by_what_loses_less(strong, split):
    model = attention(strong, strong)
    pruned(model)
    assert numbers(model)["split"] == split


def test_rotated_pairs_go_together():
    model = net(
        """g (float[N,6,3] x) => (float[N,6,2] y) { q = MatMul(x, wq) k = MatMul(x, wk)
        a, b = Split<axis=2, num_outputs=2>(q) m = Neg(b) t = Concat<axis=2>(m, a) qc = Mul(q, cs) qs = Mul(t, sn)
        qr = Add(qc, qs) kt = Transpose<perm=[0,2,1]>(k) s = MatMul(qr, kt) p = Softmax(s) o = MatMul(p, x)
        y = MatMul(o, wo) }""",
        {"cs": (6, 8), "sn": (6, 8), "wo": (3, 2)},
        wq=columns([1, 2, 5, 6], 8),
        wk=columns([1, 2, 5, 6], 8),
    )
    before = numbers(model)
    pruned(model)
    assert numbers(model)["wq"] == np.array(before["wq"])[:, [1, 2, 5, 6]].tolist()
    assert sizes(model)["cs"] == [6, 4]


def test_both_directions_keep_units_of_their_own():
    text = """g (float[6,N,3] x) => (float[6,N,2] y) {
        h = RNN<hidden_size=4, direction="bidirectional">(x, w, r, b) t = Transpose<perm=[0,2,1,3]>(h)
        f = Reshape(t, merge) y = MatMul(f, wo) }"""
    w = np.zeros((2, 4, 3), np.float32) + 0.01
    w[0, [0, 3]], w[1, [1, 2]] = 1, 2
    rest = {"r": np.full((2, 4, 4), 0.01, np.float32), "b": np.arange(16, dtype=np.float32).reshape(2, 8) / 100}
    model = net(
        text, {}, w=w, **rest, wo=np.arange(16, dtype=np.float32).reshape(8, 2) / 1000, merge=np.array([0, 0, 8])
    )
    before = numbers(model)
    pruned(model)
    after = numbers(model)
    assert after["w"] == [[[1.0] * 3] * 2, [[2.0] * 3] * 2]
    assert after["b"] == [
        np.array(before["b"])[0, [0, 3, 4, 7]].tolist(),
        np.array(before["b"])[1, [1, 2, 5, 6]].tolist(),
    ]
    assert after["wo"] == np.array(before["wo"])[[0, 3, 5, 6]].tolist()
    assert after["merge"] == [0, 0, 4]
    assert [int(node.attributes["hidden_size"].value) for node in model.graph if node.op_type == "RNN"] == [2]


def test_groups_of_a_transposed_convolution_keep_outputs_of_their_own():
    w = np.full((4, 4, 1, 1), 0.01, np.float32)
    w[:2, [0, 2]], w[2:, [1, 3]] = 1, 2
    model = net(
        "g (float[N,4,3,3] x) => (float[N,3,3,3] y) { a = ConvTranspose<group=2>(x, w, b) y = Conv(a, v) }",
        {},
        w=w,
        b=np.arange(8, dtype=np.float32) / 100,
        v=np.full((3, 8, 1, 1), 0.5, np.float32),
    )
    pruned(model)
    after = numbers(model)
    assert after["b"] == (np.array([0, 2, 5, 7], np.float32) / 100).tolist()
    assert np.array(after["w"]).ravel().tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    assert model.meta["onnxcompress.kept"]["a"] == {1: [0, 2, 5, 7]}


def test_padded_channels_are_counted_anew():
    model = net(
        "g (float[N,3,4,4] x) => (float[N,5,4,4] y) { a = Conv(x, w0) c = Conv(a, w1) p = Pad(a, pads) z = Add(c, p) "
        "y = Conv(z, wl) }",
        {"w0": (8, 3, 1, 1)},
        w1=np.concatenate([np.ones((4, 8, 1, 1)), np.zeros((8, 8, 1, 1)), np.ones((4, 8, 1, 1))]).astype(np.float32)[
            [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
        ],
        wl=np.full((5, 12, 1, 1), 0.1, np.float32),
        pads=np.array([0, 2, 0, 0, 0, 2, 0, 0]),
    )
    pruned(model)
    after, width = numbers(model)["pads"], sizes(model)
    assert after[1] + after[5] + width["w0"][0] == width["w1"][0] == 6


def shuffle_net() -> ir.Model:
    text = """g (float[N,3,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w0) r = Reshape(a, split)
        t = Transpose<perm=[0,2,1,3,4]>(r) s = Reshape(t, merge) p, q = Split<axis=1, num_outputs=2>(s) c = Conv(q, w1)
        z = Concat<axis=1>(p, c) y = Conv(z, wl) }"""
    w0 = columns([0, 1, 2, 6], 8).T.reshape(8, 3, 1, 1)
    given = {"split": np.array([0, 2, 4, 4, 4]), "merge": np.array([0, 8, 4, 4])}
    return net(text, {"w1": (4, 4, 1, 1)}, w0=w0, wl=np.full((2, 8, 1, 1), 0.001, np.float32), **given)


def test_a_shuffle_becomes_a_gather_of_what_is_left():
    model = shuffle_net()
    pruned(model, layer=("a=0.5", "c=0"))
    assert [node.op_type for node in model.graph] == ["Conv", "Gather", "Split", "Conv", "Concat", "Conv"]
    gather = next(node for node in model.graph if node.op_type == "Gather")
    assert gather.outputs[0].name == "s"
    # The shuffle deals 0 4 1 5 2 6 3 7; of these 0 1 2 6 stay, which are now 0 1 2 3.
    assert numbers(model)[gather.inputs[1].name or ""] == [0, 1, 2, 3]
    assert model.meta["onnxcompress.kept"]["s"] == {1: [0, 2, 4, 5]}


def test_a_shuffle_that_loses_nothing_stays():
    model = shuffle_net()
    pruned(model, layer=("a=0", "c=0.5"))
    assert "Transpose" in [node.op_type for node in model.graph]


def test_branches_that_a_softmax_weighs_against_each_other_choose_alike():
    """Selective kernels: what other axes are made of must not trade places by itself."""
    text = """g (float[N,8,6,6] x) => (float[N,2,6,6] y) { a = Conv<group=2, pads=[1,1,1,1]>(x, wa)
        b = Conv<group=2, pads=[1,1,1,1]>(x, wb) ua = Unsqueeze(a, one) ub = Unsqueeze(b, one)
        u = Concat<axis=1>(ua, ub) m = Add(a, b) g = GlobalAveragePool(m) f = Conv(g, wf) r = Reshape(f, split)
        p = Softmax<axis=1>(r) w = Mul(u, p) s = ReduceSum<keepdims=0>(w, one) y = Conv(s, wl) }"""
    shapes = {"wa": (8, 4, 3, 3), "wb": (8, 4, 3, 3), "wf": (16, 8, 1, 1), "wl": (2, 8, 1, 1)}
    model = net(text, shapes, one=np.array([1]), split=np.array([0, 2, 8, 1, 1]))
    before = costs(model).macs
    pruned(model)
    assert costs(model).macs <= 0.6 * before


@pytest.mark.parametrize("heads", ["auto", "dims", "whole"])
@pytest.mark.parametrize("name", ["attention with shape sub-graph", "vit block", "grouped queries", "rotary embedding"])
def test_attention_is_exact_in_either_mode(name, heads):
    model = NETS[name]()
    pruned(model, heads=heads)


@pytest.mark.parametrize("name", ["rotary embedding", "grouped queries", "bidirectional lstm"])
def test_what_goes_with_a_slot_follows_it_whatever_orders_the_channels(name):
    model = NETS[name]()
    samples = np.random.default_rng(1).normal(size=(16, 6, 10)).astype(np.float32)
    options = PruneChannels(ratio=0.5, score="reconstruction")
    findings = list(options.run(model, context(model, data={"x": samples}, verify="full")))
    assert "PRUNE-EXACT" in {finding.code for finding in findings}
