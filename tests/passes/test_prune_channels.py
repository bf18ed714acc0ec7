from __future__ import annotations

import dataclasses
import re

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import NETS, conv_bn_residual, grouped, net

from onnxcompress import graph, model_io, verify
from onnxcompress.cost import costs
from onnxcompress.errors import GateError, UsageError
from onnxcompress.passes.base import Scope
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.report import Finding
from onnxcompress.runtime import Session
from onnxcompress.shapes import infer, probe_feeds
from onnxcompress.testing import context
from onnxcompress.testing.random_models import random_model


def pruned(model: ir.Model, *, scope: Scope | None = None, target: str = "ort-cpu", **options) -> list[Finding]:
    ctx = context(model, target=target, **({"scope": scope} if scope else {}))
    findings = list(PruneChannels(**options).run(model, ctx))
    verify.check_structure(model, ctx)
    verify.check_interface(ctx.original, model)
    return findings


def shape_of(model: ir.Model, name: str) -> list[int]:
    tensor = graph.tensor_of(model.graph.initializers[name])
    assert tensor is not None
    return list(tensor.shape)


@pytest.mark.parametrize("name", NETS)
def test_pruned_is_the_original_with_channels_at_zero(name):
    model = NETS[name]()
    before = costs(model).macs
    findings = pruned(model, ratio=0.5)
    assert costs(model).macs <= 0.75 * before
    codes = {finding.code for finding in findings}
    assert "PRUNE-EXACT" in codes
    assert all(f.numbers["error"] <= 1e-5 for f in findings if f.code == "PRUNE-EXACT")


@pytest.mark.parametrize("name", NETS)
def test_ratio_zero_is_the_identity(name):
    model = NETS[name]()
    before = model_io.to_bytes(model)
    pruned(model, ratio=0.0)
    assert model_io.to_bytes(model) == before


@pytest.mark.parametrize("name", ["channel shuffle", "vit block", "bidirectional lstm", "quantized"])
def test_a_second_prune_starts_where_the_first_ended(name):
    model = NETS[name]()
    pruned(model, ratio=0.3)
    first = {k: {a: list(v) for a, v in axes.items()} for k, axes in model.meta["onnxcompress.kept"].items()}
    pruned(model, ratio=0.3)
    second = model.meta["onnxcompress.kept"]
    table = infer(model)
    for value, axes in second.items():
        for axis, rows in axes.items():
            assert set(rows) <= set(first.get(value, {}).get(axis, rows)), "positions are those of the first model"
            size = table.probe(value)
            assert size is None or size[axis] == len(rows)


@pytest.mark.parametrize("seed", range(24))
def test_random_models_come_out_valid_and_exact(seed):
    model = random_model(seed)
    findings = pruned(model, ratio=0.5)
    assert {f.code for f in findings} & {"PRUNE-EXACT", "PRUNE-NOTHING", "PRUNE-STATISTICS"}


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(24, 400))
def test_many_random_models_come_out_valid_and_exact(seed):
    pruned(random_model(seed), ratio=0.5)


def test_same_model_same_bytes():
    results = []
    for _ in range(2):
        model = NETS["vit block"]()
        pruned(model, ratio=0.5)
        results.append(model_io.to_bytes(model))
    assert results[0] == results[1]


def test_before_and_after_as_text():
    model = net(
        "g (float[N,2] x) => (float[N,2] y) { h = Gemm(x, w1, b1) r = Relu(h) y = Gemm(r, w2) }",
        {},
        w1=np.array([[1, 9, 2, 8], [1, 9, 2, 8]], np.float32),
        b1=np.array([1, 2, 3, 4], np.float32),
        w2=np.array([[1, 1], [9, 9], [2, 2], [8, 8]], np.float32),
    )
    pruned(model, ratio=0.5)
    kept = {name: value.const_value.numpy().tolist() for name, value in model.graph.initializers.items()}
    assert kept == {"w1": [[9, 8], [9, 8]], "b1": [2, 4], "w2": [[9, 9], [8, 8]]}
    assert [node.op_type for node in model.graph] == ["Gemm", "Relu", "Gemm"]
    assert model.meta["onnxcompress.kept"] == {"h": {1: [1, 3]}, "r": {1: [1, 3]}}


def test_shape_subgraph_keeps_batch_and_scale():
    """The batch stays free, and the root of the head size is that of the model that was trained."""
    model = NETS["attention with shape sub-graph"]()
    pruned(model, ratio=0.5)
    for batch in (1, 4):
        feeds = probe_feeds(model, batch=batch)
        assert Session(model).run(feeds)["y"].shape == (batch, 6, 4)
    root = Session(model, taps=["root"]).run(probe_feeds(model), ["root"])["root"]
    assert float(root.ravel()[0]) == pytest.approx(np.sqrt(5))


def test_blocks_of_a_grouped_convolution_choose_freely():
    model = grouped()
    weight = model.graph.initializers["w1"]
    numbers = weight.const_value.numpy().copy()
    numbers[[0, 1, 2]] *= 0.01  # first block: its first rows are the least
    numbers[[9, 10, 11]] *= 0.01  # second block: its last rows are
    graph.set_constant(weight, numbers)
    last = model.graph.initializers["wl"]
    columns = last.const_value.numpy().copy()
    columns[:, [0, 1, 2, 9, 10, 11]] *= 0.01
    graph.set_constant(last, columns)
    pruned(model, ratio=0.5)
    assert model.meta["onnxcompress.kept"]["z"][1] == [3, 4, 5, 6, 7, 8]


def test_shared_bias_is_copied_where_its_readers_differ():
    model = NETS["shared bias"]()
    pruned(model, layer=("c=0.5",))
    biases = [node.inputs[2] for node in model.graph if node.op_type == "Conv" and len(node.inputs) > 2]
    assert sorted(value.const_value.shape[0] for value in biases) == [4, 8, 8]


def test_outputs_and_what_they_tie_are_named():
    model = net("g (float[N,3] x) => (float[N,4] y, float[N,4] h) { h = Gemm(x, w1) y = Gemm(h, w2) }",
                {"w1": (3, 4), "w2": (4, 4)})  # fmt: skip
    findings = pruned(model, ratio=0.5)
    assert [f.code for f in findings] == ["PRUNE-FROZEN-OUTPUT", "PRUNE-FROZEN-OUTPUT", "PRUNE-NOTHING"]


def test_a_state_input_is_named():
    text = (
        "g (float[6,N,10] x, float[1,N,8] h0) => (float[N,4] y) "
        "{ h, hn = GRU<hidden_size=8>(x, w, r, , , h0) q = Squeeze(hn, zero) y = Gemm(q, w1) }"
    )
    model = net(text, {"w": (1, 24, 10), "r": (1, 24, 8), "w1": (8, 4)}, zero=np.array([0]))
    findings = pruned(model, ratio=0.5)
    assert any(f.code == "PRUNE-FROZEN-INPUT" and "h0" in f.message for f in findings)


def test_an_op_without_a_rule_freezes_what_it_touches():
    text = (
        "g (float[N,3,8,8] x) => (float[N,5,8,8] y) "
        "{ a = Conv<pads=[1,1,1,1]>(x, w0) n = LRN<size=3>(a) c = Conv(n, w1) r = Relu(c) y = Conv(r, w2) }"
    )
    model = net(text, {"w0": (8, 3, 3, 3), "w1": (8, 8, 1, 1), "w2": (5, 8, 1, 1)})
    findings = pruned(model, ratio=0.5)
    assert [(f.code, f.node) for f in findings if f.code == "PRUNE-FROZEN-OP"] == [("PRUNE-FROZEN-OP", "a")]
    assert shape_of(model, "w0")[0] == 8
    assert shape_of(model, "w1") == [4, 8, 1, 1]


def test_what_a_body_without_a_rule_captures_stays():
    text = (
        "g (float[N,3] x) => (float[N,2] y) { a = Gemm(x, w0) n = Neg(a) s = SequenceConstruct(n) "
        "q = SequenceMap<body = b (float[N,8] t) => (float[N,8] u) { u = Add(t, a) }>(s) "
        "c = ConcatFromSequence<axis=0>(q) y = Gemm(c, w1) }"
    )
    findings = pruned(net(text, {"w0": (3, 8), "w1": (8, 2)}), ratio=0.5)
    assert "PRUNE-NOTHING" in {f.code for f in findings}


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize(("option", "figure"), [("target_macs", "macs"), ("target_params", "params")])
def test_targets_are_met(allocation, option, figure):
    model = net(
        "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0) b = Relu(a) c = Gemm(b, w1) y = Gemm(c, w2) }",
        {"w0": (8, 96), "w1": (96, 64), "w2": (64, 4)},
    )
    before = getattr(costs(model), figure)
    pruned(model, allocation=allocation, **{option: "0.5x"})
    assert 0.48 * before <= getattr(costs(model), figure) <= 0.5 * before


def test_a_target_out_of_reach_is_refused_with_the_best_that_can():
    with pytest.raises(GateError) as caught:
        pruned(NETS["tied embedding"](), target_macs="0.01x")
    assert (caught.value.code, caught.value.exit_code) == ("GATE-TARGET-MISSED", 5)
    best = re.search(r"--target-macs (0\.\d+x)", caught.value.hint)
    assert best, "the hint is a request that can be met"
    pruned(NETS["tied embedding"](), target_macs=best[1])


def test_a_target_out_of_reach_may_be_missed_on_request():
    findings = pruned(NETS["tied embedding"](), target_macs="0.01x", allow_miss=True)
    missed = [f for f in findings if f.code == "PRUNE-TARGET-MISSED"]
    assert [f.severity for f in missed] == ["warning"]
    assert missed[0].numbers["reached"] > missed[0].numbers["goal"]


def test_a_target_may_be_absolute():
    model = conv_bn_residual()
    pruned(model, target_macs="30k")
    assert costs(model).macs <= 30_000


def test_scope_and_layers():
    shapes = {"w0": (8, 16), "w1": (16, 16), "w2": (16, 4)}
    text = "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0) b = Gemm(a, w1) y = Gemm(b, w2) }"
    model = net(text, shapes)
    pruned(model, ratio=0.5, scope=Scope(only=("a",)))
    assert (shape_of(model, "w0"), shape_of(model, "w1")) == ([8, 8], [8, 16])
    model = net(text, shapes)
    findings = pruned(model, ratio=0.5, scope=Scope(exclude=("a",)))
    assert (shape_of(model, "w0"), shape_of(model, "w2")) == ([8, 16], [8, 4])
    assert any(f.code == "PRUNE-OUT-OF-SCOPE" and f.node == "a" for f in findings)
    model = net(text, shapes)
    pruned(model, ratio=0.5, layer=("re:^a$=0.25", "b=0"))
    assert (shape_of(model, "w0"), shape_of(model, "w2")) == ([8, 12], [16, 4])


def test_ratios_by_kind():
    model = NETS["flatten into dense"]()
    pruned(model, filter_ratio=0.25, neuron_ratio=0.5)
    assert (shape_of(model, "w0")[0], shape_of(model, "w1")) == (6, [6, 96])
    model = conv_bn_residual()
    pruned(model, channel_ratio=0.25)
    assert shape_of(model, "wl")[1] == 6


def test_alignment_and_floor():
    text = "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0) b = Gemm(a, w1) y = Gemm(b, w2) }"
    shapes = {"w0": (8, 40), "w1": (40, 12), "w2": (12, 4)}
    model = net(text, shapes)
    pruned(model, ratio=0.45, align=8)
    assert shape_of(model, "w1") == [24, 8]
    model = net(text, shapes)
    pruned(model, ratio=0.9, min_channels=6)
    assert shape_of(model, "w1") == [8, 6], "the target likes multiples of 8 where a layer is wide"


BAD = [
    ({}, "USAGE-PRUNE-NO-AMOUNT"),
    ({"ratio": 1.0}, "USAGE-PRUNE-RATIO"),
    ({"ratio": -0.1}, "USAGE-PRUNE-RATIO"),
    ({"ratio": 0.5, "target_macs": "0.5x"}, "USAGE-PRUNE-AMBIGUOUS"),
    ({"target_params": "1k", "target_macs": "0.5x"}, "USAGE-PRUNE-AMBIGUOUS"),
    ({"layer": ("a",)}, "USAGE-PRUNE-LAYER"),
    ({"layer": ("a=2",)}, "USAGE-PRUNE-LAYER"),
    ({"layer": ("nowhere=0.5",)}, "USAGE-PATTERN-UNMATCHED"),
    ({"target_macs": "half"}, "USAGE-TARGET"),
    ({"target_macs": "0x"}, "USAGE-TARGET"),
    ({"ratio": 0.5, "align": 0}, "USAGE-PRUNE-COUNT"),
    ({"ratio": float("nan")}, "USAGE-PRUNE-RATIO"),
    ({"filter_ratio": float("inf")}, "USAGE-PRUNE-RATIO"),
    ({"layer": ("a=nan",)}, "USAGE-PRUNE-LAYER"),
    ({"target_macs": "nanx"}, "USAGE-TARGET"),
    ({"target_params": "-1M"}, "USAGE-TARGET"),
    ({"ratio": 0.5, "min_channels": 0}, "USAGE-PRUNE-COUNT"),
    ({"ratio": 0.5, "min_channels": "120%"}, "USAGE-PRUNE-COUNT"),
    ({"ratio": 0.5, "min_channels": "many"}, "USAGE-PRUNE-COUNT"),
]


@pytest.mark.parametrize(("options", "code"), BAD)
def test_bad_options_are_refused_with_advice(options, code):
    with pytest.raises(UsageError) as caught:
        pruned(conv_bn_residual(), **options)
    assert caught.value.code == code
    assert caught.value.hint


def test_options_are_plain_values():
    assert PruneChannels(ratio=0.3, layer=("a=0.1",)).spec() == {
        "pass": "prune-channels",
        "ratio": 0.3,
        "layer": ["a=0.1"],
    }
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(PruneChannels))


@pytest.mark.parametrize(
    ("inputs", "outputs", "code"),
    [(", float[12,16] w1", "", "PRUNE-FROZEN-INPUT"), ("", ", float[12,16] w1", "PRUNE-FROZEN-OUTPUT")],
)
def test_a_weight_that_belongs_to_the_interface_keeps_its_sizes(inputs, outputs, code):
    text = f"""g (float[N,8] x{inputs}) => (float[N,4] y{outputs}) {{
        a = MatMul(x, w0) r = Relu(a) b = Gemm<transB=1>(r, w1) s = Relu(b) c = MatMul(s, w2) t = Relu(c)
        y = MatMul(t, w3) }}"""
    model = net(text, {"w0": (8, 16), "w1": (12, 16), "w2": (12, 20), "w3": (20, 4)})
    findings = pruned(model, ratio=0.5)
    assert {name: shape_of(model, name) for name in ("w0", "w2", "w3")} == {
        "w0": [8, 16],
        "w2": [12, 10],
        "w3": [10, 4],
    }
    assert list(model.graph.initializers["w1"].const_value.shape) == [12, 16]
    assert code in {f.code for f in findings}


def test_running_statistics_that_are_outputs_keep_their_channels():
    text = """g (float[N,4,6,6] x) => (float[N,3,4,4] y, float[6] m1) {
        c = Conv(x, w0) b, m1, v1 = BatchNormalization<training_mode=1>(c, s, o, m, var) y = Conv(b, w1) }"""
    vectors = dict.fromkeys(("s", "o", "m", "var"), (6,))
    model = net(text, {"w0": (6, 4, 3, 3), **vectors, "w1": (3, 6, 1, 1)})
    assert "PRUNE-NOTHING" in {f.code for f in pruned(model, ratio=0.5)}


def test_a_target_that_the_model_meets_already_is_said():
    model = conv_bn_residual()
    found = [f.message for f in pruned(model, target_params="1G") if f.code == "PRUNE-NOTHING"]
    assert len(found) == 1
    assert f"{costs(model).params:,} parameters, within the target 1G" in found[0]


def test_a_target_above_the_whole_is_no_reduction():
    with pytest.raises(UsageError, match="--target-macs 3x is no reduction"):
        pruned(conv_bn_residual(), target_macs="3x")


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        (
            """g (float[N,4,8,8] x) => (float[N,3,3,3] y, int64[N,8,5,5] i) {
              c = Conv(x, w0) p, i = MaxPool<kernel_shape=[2,2]>(c) y = Conv(p, w1) }""",
            {"w0": (8, 4, 3, 3), "w1": (3, 8, 3, 3)},
        ),
        (
            """g (float[N,8] x) => (float[N,3] y, float[N,1] mean) {
              c = MatMul(x, w0) l, mean, inverse = LayerNormalization(c, s) y = MatMul(l, w1) }""",
            {"w0": (8, 16), "s": (16,), "w1": (16, 3)},
        ),
    ],
    ids=["indices of a pool", "mean of a norm"],
)
def test_what_a_second_output_tells_of_stays(text, shapes):
    model = net(text, shapes)
    assert "PRUNE-NOTHING" in {f.code for f in pruned(model, ratio=0.5)}
