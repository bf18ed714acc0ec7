"""Ops that ONNX's own suite leaves thin: attributes that change the numbers, and gradients by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import model
from builders.distill_ops import CASES, REFUSED
from builders.equality import run
from onnx.reference import ReferenceEvaluator

from onnxcompress import model_io
from onnxcompress.distill.bridge import Bridge
from onnxcompress.errors import ModelError


def found(case, *, double: bool = False):
    """The bridge's module, its inputs' names and the model."""
    net = model_io.load(case.model(double=double))
    return net, Bridge(net).specialise(case.samples(double=double))


def check(case, have, want):
    if case.steps:
        assert np.abs(have - want).max() <= case.steps
        assert np.mean(have != want) < case.share
        assert want.std() > 1
    else:
        np.testing.assert_allclose(have, want, rtol=case.tolerance, atol=case.tolerance)


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_onnx_runtime(name):
    case = CASES[name]
    made, feeds = case.model(), case.samples()
    wanted = ReferenceEvaluator(made).run(None, feeds) if case.reference else run(made, feeds)
    net, graph = found(case)
    given = graph.run(feeds)
    for value, want in zip(net.graph.outputs, wanted, strict=True):
        have = given[value.name].detach().numpy()
        assert have.shape == want.shape
        check(case, have.astype(np.float64), want.astype(np.float64))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.smooth])
def test_the_gradients_are_those_of_finite_differences(name):
    case = CASES[name]
    net, graph = found(case, double=True)
    first = net.graph.outputs[0].name
    feeds = {n: torch.from_numpy(a) for n, a in case.samples(double=True).items()}

    def call(*moving):
        moved = {**feeds, **dict(zip(case.smooth, moving, strict=True))}
        return graph.module(*[moved[n] for n in graph.inputs])[first]

    assert torch.autograd.gradcheck(call, [feeds[n].requires_grad_() for n in case.smooth], fast_mode=True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_op_cannot_do_it_refuses_with_its_name(name):
    case, why = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        found(case)
    assert why in str(caught.value)
    assert "'it'" in caught.value.where
    assert caught.value.hint


@pytest.mark.parametrize("name", ["NonZero", "Compress", "NonMaxSuppression of ties"])
def test_the_samples_decide_how_much_is_found(name):
    case = CASES[name]
    _, graph = found(case)
    feeds = {n: np.ones_like(a) for n, a in case.samples().items()}
    (wanted,) = run(case.model(), feeds)
    np.testing.assert_array_equal(graph.run(feeds)["y0"], wanted)


SPLIT = '<ir_version: 8, opset_import: ["" : 17]> net (float[N, 6] x) => (float[N, 2] y) {'


def test_a_split_counts_outputs_that_nothing_reads():
    made = model(f"{SPLIT} a, b, c = Split <axis = 1> (x)  y = Mul (a, b) }}", {})
    feeds = {"x": np.arange(12, dtype=np.float32).reshape(2, 6)}
    np.testing.assert_array_equal(
        Bridge(made).specialise(feeds).run(feeds)["y"], feeds["x"][:, :2] * feeds["x"][:, 2:4]
    )


def test_the_gradient_at_the_bend_of_a_prelu_is_that_of_one_side():
    made = model(SPLIT.replace("N, 2", "N, 6") + " y = PRelu (x, s) }", {"s": np.array([0.25], np.float32)})
    x = torch.zeros(1, 6, requires_grad=True)
    Bridge(made).specialise({"x": np.zeros((1, 6), np.float32)}).module(x)["y"].sum().backward()
    assert x.grad is not None and set(x.grad.unique().tolist()) <= {0.25, 1.0}


NORM = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, H, W] x) => (float[N, 3, H, W] y) { y = BatchNormalization <training_mode = TRAIN> (x, g, b, m, v) }"""


def norm(training: int):
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    return model(NORM.replace("TRAIN", str(training)), {"g": ones, "b": zeros, "m": zeros, "v": ones})


def test_a_normalization_that_trains_is_refused_whatever_reads_its_statistics():
    feeds = {"x": np.ones((2, 3, 2, 2), np.float32)}
    with pytest.raises(ModelError, match="training mode"):
        Bridge(norm(1)).specialise(feeds)


@pytest.mark.parametrize(("opset", "more"), [(9, "a, c, d, e"), (17, "a, c")])
def test_so_is_one_whose_named_statistics_nothing_reads(opset: int, more: str):
    text = NORM.replace('"" : 17', f'"" : {opset}').replace("y = Batch", f"y, {more} = Batch")
    text = text.replace("<training_mode = TRAIN> ", "" if opset < 14 else "<training_mode = 1> ")
    ones = np.ones(3, np.float32)
    made = model(text, {"g": ones, "b": ones, "m": ones, "v": ones})
    with pytest.raises(ModelError, match="training mode"):
        Bridge(made).specialise({"x": np.ones((2, 3, 2, 2), np.float32)})


def test_an_empty_running_sum_is_empty():
    made = model(
        SPLIT.replace("N, 6", "N, L").replace("N, 2", "N, L") + " y = CumSum <exclusive = 1> (x, one) }",
        {"one": np.array(1)},
    )
    feeds = {"x": np.zeros((2, 0), np.float32)}
    assert Bridge(made).specialise(feeds).run(feeds)["y"].shape == (2, 0)


def test_a_batch_of_one_value_a_channel_leaves_the_statistics():
    feeds = {"x": np.full((1, 3, 1, 1), 5, np.float32)}
    bridge = Bridge(norm(0))
    made = bridge.specialise(feeds, training=True).run(feeds)["y"]
    np.testing.assert_allclose(made.detach(), feeds["x"], rtol=1e-4)
