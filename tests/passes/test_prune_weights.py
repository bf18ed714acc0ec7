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


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sparsity": 1.0}, "USAGE-PRUNE-RATIO"),
        ({"layer": ("a",)}, "USAGE-PRUNE-LAYER"),
        ({"weights": "global", "threshold": 0.1}, "USAGE-PRUNE-THRESHOLD"),
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
