from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.pruning_models import NETS, conv_bn_residual, net

from onnxcompress import verify
from onnxcompress.errors import UsageError
from onnxcompress.passes.base import Scope
from onnxcompress.passes.prune_weights import PruneWeights
from onnxcompress.report import Finding
from onnxcompress.testing import context

TEXT = "g (float[N,40] x) => (float[N,30] y) { a = Gemm(x, w0, b) r = Relu(a) y = MatMul(r, w1) }"
SHAPES = {"w0": (40, 50), "b": (50,), "w1": (50, 30)}


def sparsified(model: ir.Model, *, scope: Scope | None = None, **options) -> list[Finding]:
    ctx = context(model, **({"scope": scope} if scope else {}))
    findings = list(PruneWeights(**options).run(model, ctx))
    verify.check_structure(model, ctx)
    return findings


def zeros(model: ir.Model) -> dict[str, float]:
    return {
        name: float((value.const_value.numpy() == 0).mean())
        for name, value in model.graph.initializers.items()
        if value.const_value.dtype == ir.DataType.FLOAT
    }


def scaled() -> ir.Model:
    model = net(TEXT, SHAPES)
    value = model.graph.initializers["w1"]
    value.const_value = ir.tensor(value.const_value.numpy() * 10)
    return model


def test_threshold_gives_each_layer_its_sparsity():
    model = scaled()
    findings = sparsified(model, sparsity=0.6)
    assert zeros(model) == pytest.approx({"w0": 0.6, "w1": 0.6, "b": 0.0}, abs=0.01)
    total = next(f for f in findings if f.code == "PRUNE-SPARSITY-TOTAL")
    assert (total.code, total.numbers["sparsity"]) == ("PRUNE-SPARSITY-TOTAL", pytest.approx(0.6, abs=0.01))


def test_global_takes_the_least_wherever_they_are():
    model = scaled()
    sparsified(model, weights="global", sparsity=0.4)
    assert zeros(model)["w0"] > 0.6
    assert zeros(model)["w1"] < 0.1
    count = 0.4 * (40 * 50 + 50 * 30)
    assert zeros(model)["w0"] * 2000 + zeros(model)["w1"] * 1500 == pytest.approx(count, rel=0.02)


def test_histogram_never_exceeds_the_sparsity():
    model = scaled()
    sparsified(model, weights="histogram", sparsity=0.5)
    assert max(zeros(model).values()) <= 0.51


def test_an_absolute_threshold():
    model = net(TEXT, SHAPES)
    before = {name: model.graph.initializers[name].const_value.numpy().copy() for name in ("w0", "w1")}
    sparsified(model, threshold=0.2)
    for name, old in before.items():
        new = model.graph.initializers[name].const_value.numpy()
        assert np.array_equal(new, np.where(np.abs(old) < np.float32(0.2), 0, old))


def test_layers_and_scope():
    model = net(TEXT, SHAPES)
    sparsified(model, sparsity=0.5, layer=("a=0.2",), scope=Scope(exclude=("y",)))
    assert zeros(model) == pytest.approx({"w0": 0.2, "w1": 0.0, "b": 0.0}, abs=0.01)


def test_norms_biases_and_embeddings_stay():
    model = conv_bn_residual()
    sparsified(model, sparsity=0.5)
    assert {name for name, share in zeros(model).items() if share > 0} == {"w0", "w1", "wl"}
    model = NETS["tied embedding"]()
    sparsified(model, sparsity=0.5)
    assert {name for name, share in zeros(model).items() if share > 0} == {"w1", "w2"}


def codes(findings: list[Finding]) -> dict[str, str]:
    """Reason code by node, without those that every layer gets."""
    plain = ("PRUNE-SPARSITY", "PRUNE-SPARSITY-TOTAL", "PRUNE-NO-SPEEDUP")
    return {f.node: f.code for f in findings if f.code not in plain}


def test_layers_with_a_rate_of_their_own_do_not_count_for_the_others():
    model = scaled()
    sparsified(model, weights="global", sparsity=0.3, layer=("a=0",))
    assert zeros(model) == pytest.approx({"w0": 0.0, "w1": 0.3, "b": 0.0}, abs=1e-3)


@pytest.mark.parametrize("weights", ["threshold", "global"])
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.999, 0.9999999])
def test_counts_are_exact_where_all_weights_are_alike(weights, sparsity):
    model = net(TEXT, {"b": (50,)}, w0=np.ones((40, 50), np.float32), w1=-np.ones((50, 30), np.float32))
    sparsified(model, weights=weights, sparsity=sparsity)
    found = zeros(model)
    total = round(found["w0"] * 2000 + found["w1"] * 1500)
    wanted = int(sparsity * 3500 + 1e-6) if weights == "global" else int(sparsity * 2000) + int(sparsity * 1500)
    assert total == wanted


def test_a_layer_of_zeros_alone_is_told():
    findings = sparsified(net(TEXT, SHAPES), threshold=100.0)
    assert codes(findings) == {"a": "PRUNE-WEIGHTS-EMPTIED", "y": "PRUNE-WEIGHTS-EMPTIED"}


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE])
@pytest.mark.parametrize("weights", ["threshold", "global", "histogram", "2:4"])
def test_other_float_types_keep_their_type(dtype, weights):
    rng = np.random.default_rng(0)
    value = ir.tensor(rng.normal(size=(16, 8)).astype(dtype.numpy()), name="w")
    x = ir.Value(name="x", shape=ir.Shape([2, 16]), type=ir.TensorType(dtype))
    w = ir.Value(name="w", shape=ir.Shape([16, 8]), type=ir.TensorType(dtype), const_value=value)
    node = ir.node("MatMul", [x, w], name="product")
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(dtype)
    node.outputs[0].shape = ir.Shape([2, 8])
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[w], opset_imports={"": 18}, name="g")
    model = ir.Model(graph, ir_version=9)
    list(PruneWeights(weights=weights, sparsity=None).run(model, context(model)))
    stored = model.graph.initializers["w"].const_value
    assert stored.dtype is dtype
    assert (stored.numpy().astype(np.float32) == 0).mean() == pytest.approx(0.45, abs=0.15)


def test_weights_of_constant_nodes_and_bodies():
    text = (
        "g (bool c, float[N,4] x) => (float[N,4] y) { "
        "w = Constant<value = float[4,4] {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>() h = MatMul(x, w) "
        "y = If(c)<then_branch = t () => (float[N,4] a) <float[4,4] v = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> "
        "{ a = MatMul(h, v) }, else_branch = e () => (float[N,4] b) { b = MatMul(h, w) }> }"
    )
    model = net(text, {})
    totals = [f.numbers for f in sparsified(model, sparsity=0.25) if f.code == "PRUNE-SPARSITY-TOTAL"]
    assert (totals[0]["weights"], totals[0]["zeros"]) == (32, 8)


def test_a_weight_that_two_layers_read_is_pruned_once():
    model = net("g (float[N,8] x) => (float[N,8] y) { a = MatMul(x, w0) y = MatMul(a, w0) }", {"w0": (8, 8)})
    findings = sparsified(model, sparsity=0.5, layer=("y=0.25",))
    assert zeros(model) == {"w0": 0.25}
    assert [f.code for f in findings].count("PRUNE-SPARSITY") == 1


BROKEN = np.ones((8, 8), np.float32)
BROKEN[0, :2] = np.nan, np.inf


@pytest.mark.parametrize(
    ("body", "given", "reason"),
    [
        ("a = MatMul(x, w) y = Add(a, w)", {"w": np.ones((8, 8), np.float32)}, "also read by the Add y"),
        ("y = MatMul(x, w)", {"w": BROKEN}, "2 of its weights are NaN or infinite"),
        ("w = DequantizeLinear(q, s) y = MatMul(x, w)", {"q": np.ones((8, 8), np.int8), "s": np.float32(1)}, "int8"),
        ("z = MatMul(x, x) y = Relu(z)", {}, "none of what it multiplies is a weight"),
    ],
)
def test_what_is_left_alone_and_why(body, given, reason):
    arrays = {name: np.asarray(array) for name, array in given.items()}
    model = net(f"g (float[8,8] x) => (float[8,8] y) {{ {body} }}", {}, **arrays)
    before = {name: value.const_value.numpy().copy() for name, value in model.graph.initializers.items()}
    findings = sparsified(model)
    assert reason in findings[0].message
    assert findings[-1].code == "PRUNE-NOTHING"
    assert all(
        np.array_equal(model.graph.initializers[n].const_value.numpy(), a, equal_nan=True) for n, a in before.items()
    )


def test_an_input_that_the_caller_may_replace_is_left_alone():
    model = net("g (float[N,8] x, float[8,8] w) => (float[N,8] y) { y = MatMul(x, w) }", {"w": (8, 8)})
    assert "may replace" in sparsified(model)[0].message


PATTERNED = "g (float[N,32,8,8] x) => (float[N,16,8,8] y) { a = Conv<pads=[1,1,1,1]>(x, w0) d = Conv<group=32>(a, w1) y = Conv(d, w2) }"  # noqa: E501


def patterned() -> ir.Model:
    return net(PATTERNED, {"w0": (32, 32, 3, 3), "w1": (32, 1, 1, 1), "w2": (16, 32, 1, 1)})


@pytest.mark.parametrize(("weights", "share"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.75)])
def test_a_pattern_runs_along_the_input_channels(weights, share):
    model = patterned()
    findings = sparsified(model, weights=weights)
    n, m = map(int, weights.split(":"))
    for name in ("w0", "w2"):
        grouped = np.moveaxis(model.graph.initializers[name].const_value.numpy(), 1, -1).reshape(-1, m)
        assert ((grouped != 0).sum(axis=1) == n).all()
    assert zeros(model) == {"w0": share, "w1": 0.0, "w2": share}
    assert codes(findings) == {"d": "PRUNE-WEIGHTS-UNFIT"}


@pytest.mark.parametrize(
    ("node", "shape", "axis"),
    [
        ("y = MatMul(x, w)", (8, 6), 0),
        ("y = Gemm(x, w)", (8, 6), 0),
        ("y = Gemm<transB=1>(x, w)", (6, 8), 1),
    ],
)
def test_the_input_axis_of_a_product(node, shape, axis):
    model = net(f"g (float[N,8] x) => (float[N,6] y) {{ {node} }}", {"w": shape})
    sparsified(model, weights="1:4")
    groups = np.moveaxis(model.graph.initializers["w"].const_value.numpy(), axis, -1).reshape(-1, 4)
    assert ((groups != 0).sum(axis=1) == 1).all()


def test_a_target_says_which_layers_gain_from_a_pattern():
    text = "g (float[N,24,8,8] x) => (float[N,16,8,8] y) "
    text += "{ a = Conv(x, w0) b = Conv(a, w1) c = Conv(b, w2) y = Conv(c, w3) }"
    model = net(text, {"w0": (32, 24, 1, 1), "w1": (12, 32, 1, 1), "w2": (32, 12, 1, 1), "w3": (16, 32, 1, 1)})
    findings = list(PruneWeights(weights="2:4").run(model, context(model, target="tensorrt")))
    assert {f.node: f.message for f in findings if f.code == "PRUNE-WEIGHTS-UNFIT"} == {
        "a": "left as it is: its 24 input channels are no multiple of 16, as tensorrt needs",
        "b": "left as it is: its 12 outputs are no multiple of 8, as tensorrt needs",
        "c": "left as it is: its 12 input channels are no multiple of 16, as tensorrt needs",
    }
    assert "--sparsity=enable" in findings[-1].message
    assert zeros(model)["w3"] == 0.5


def test_a_layer_can_be_left_out_of_a_pattern():
    model = patterned()
    findings = sparsified(model, weights="2:4", layer=("op:Conv=0",))
    assert findings[-1].code == "PRUNE-NOTHING"
    assert not any(zeros(model).values())


def test_the_total_tells_zeros_and_zipped_bytes():
    model = net(TEXT, SHAPES)
    total = next(f.numbers for f in sparsified(model, sparsity=0.9) if f.code == "PRUNE-SPARSITY-TOTAL")
    assert (total["weights"], total["zeros"], total["zeros_before"]) == (3500, 3150, 0)
    assert total["zipped"] < 0.3 * total["zipped_before"]
    assert total["zipped_before"] < 4 * 3550 * 1.01


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sparsity": 1.0}, "USAGE-PRUNE-RATIO"),
        ({"layer": ("a",)}, "USAGE-PRUNE-LAYER"),
        ({"sparsity": float("nan")}, "USAGE-PRUNE-RATIO"),
        ({"sparsity": -0.1}, "USAGE-PRUNE-RATIO"),
        ({"weights": "global", "threshold": 0.1}, "USAGE-PRUNE-THRESHOLD"),
        ({"threshold": 0.1, "sparsity": 0.5}, "USAGE-PRUNE-THRESHOLD"),
        ({"threshold": 0.0}, "USAGE-PRUNE-THRESHOLD"),
        ({"threshold": float("inf")}, "USAGE-PRUNE-THRESHOLD"),
        ({"weights": "3:2"}, "USAGE-PRUNE-PATTERN"),
        ({"weights": "2:4", "sparsity": 0.7}, "USAGE-PRUNE-PATTERN"),
        ({"weights": "2:4", "layer": ("a=0.3",)}, "USAGE-PRUNE-LAYER"),
        ({"weights": "magnitude"}, "USAGE-PRUNE-METHOD"),
        ({"cut": "percentile"}, "USAGE-PRUNE-CUT"),
        ({"layer": ("nowhere=0.3",)}, "USAGE-PATTERN-UNMATCHED"),
    ],
)
def test_bad_options_are_refused(options, code):
    with pytest.raises(UsageError) as caught:
        sparsified(conv_bn_residual(), **options)
    assert caught.value.code == code


@pytest.mark.parametrize("method", ["threshold", "global", "histogram"])
def test_weights_without_elements_are_passed_over(method):
    model = net(
        "g (float[N,8] x) => (float[N,4] y) { a = MatMul(x, w0) y = MatMul(a, w1) }", {"w0": (8, 0), "w1": (0, 4)}
    )
    assert [f.code for f in sparsified(model, weights=method)] == ["PRUNE-NOTHING"]
