"""The bridge on whole graphs: numbers, gradients, control flow, and what it refuses."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import array, model, pictures, residual

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.ops import TABLE, OpNode
from onnxcompress.errors import ModelError
from onnxcompress.runtime import Session


def both(made: ir.Model, feeds: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs of ONNX Runtime and of the bridge."""
    found = Bridge(made).specialise(feeds).run(feeds)
    return Session(made, optimize=False).run(feeds), {n: t.detach().numpy() for n, t in found.items()}


def test_a_residual_net_equals_onnx_runtime_at_any_batch_size_with_shared_weights():
    made = residual()
    bridge = Bridge(made)
    for count in (1, 5):
        feeds = pictures(count).read(range(count))
        found = bridge.specialise(feeds).run(feeds)["logits"]
        np.testing.assert_allclose(found.detach(), Session(made).run(feeds)["logits"], atol=1e-4)
    assert bridge.specialise(feeds) is bridge.specialise(feeds)


def test_every_weight_gets_a_gradient():
    bridge, feeds = Bridge(residual()), pictures(4).read(range(4))
    bridge.specialise(feeds).run(feeds)["logits"].square().sum().backward()
    assert {w.name for w, p in bridge.trainable() if p.grad is not None and p.grad.abs().sum() > 0} == {
        *(f"w{i}" for i in range(5)),
        *(f"{letter}{i}" for i in (0, 1, 3) for letter in "gb"),
        "bias2",
        "bias4",
        "wf",
        "bf",
    }


def test_inner_tensors_can_be_tapped():
    made, feeds = residual(), pictures(3).read(range(3))
    found = Bridge(made).specialise(feeds, ["block1", "c3"]).run(feeds)
    wanted = Session(made, taps=["block1", "c3"]).run(feeds)
    assert set(found) == {"logits", "block1", "c3"}
    for name in found:
        np.testing.assert_allclose(found[name].detach(), wanted[name], atol=1e-4)


def test_batch_statistics_are_used_and_followed_in_training_only():
    made, feeds = residual(), pictures(32).read(range(32))
    bridge = Bridge(made)
    state = bridge.parameters[[w.name for w in bridge.weights].index("m0")]
    start = state.clone()
    bridge.specialise(feeds, training=False).run(feeds)
    training = bridge.specialise(feeds, training=True)
    assert torch.equal(state, start), "building alone moves nothing"
    training.run(feeds)
    batch = Session(made, taps=["c0"]).run(feeds)["c0"].mean((0, 2, 3))
    np.testing.assert_allclose(state, 0.9 * start + 0.1 * torch.from_numpy(batch), atol=1e-5)


IF_ON_SETTING = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 2] x, int64 rate) => (float[N, 2] y) <float[2] w = {1.0, 2.0}, int64 wanted = {16000}> {
    right = Equal (rate, wanted)
    y = If (right) <
        then_branch = yes () => (float[N, 2] a) { a = Mul (x, w) },
        else_branch = no () => (float[N, 2] b) { b = Neg (x) }
    >
}
"""


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_branch_on_a_setting_is_inlined(rate: int):
    made = model(IF_ON_SETTING)
    wanted, found = both(made, {"x": np.ones((3, 2), np.float32), "rate": np.array(rate)})
    np.testing.assert_array_equal(found["y"], wanted["y"])


def test_a_branch_on_the_samples_is_refused_by_name():
    text = IF_ON_SETTING.replace("int64 rate", "int64[1] rate").replace(
        "y = If (right)", "one = Squeeze (right)\n y = If (one)"
    )
    with pytest.raises(ModelError, match="which branch runs depends on the samples"):
        Bridge(model(text)).specialise({"x": np.ones((3, 2), np.float32), "rate": np.array([1])})


def test_an_unknown_op_is_refused_with_its_name_and_a_way_out():
    text = """<ir_version: 8, opset_import: ["" : 17, "acme" : 1]>
    net (float[N] x) => (float[N] y) { y = acme.Frobnicate (x) }"""
    with pytest.raises(ModelError) as caught:
        Bridge(model(text)).specialise({"x": np.ones(2, np.float32)})
    assert "acme::Frobnicate" in caught.value.where
    assert "'y'" in caught.value.where
    assert "--ops FILE.py" in (caught.value.hint or "")


def test_a_shape_that_depends_on_samples_is_refused():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[N] x, int64[K] shape) => (float[M] y) { y = Reshape (x, shape) }"""
    with pytest.raises(ModelError, match="depends on the samples"):
        Bridge(model(text)).specialise({"x": np.ones(4, np.float32), "shape": np.array([2, 2])})


def test_local_functions_are_walked_and_their_caller_s_weights_trained():
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    net (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {1.0, 2.0, 3.0, 4.0}> { y = local.layer (x, w) }
    <domain: "local", opset_import: ["" : 17]> layer (a, b) => (c) { m = MatMul (a, b)  c = Relu (m) }"""
    made, feeds = model(text), {"x": np.ones((3, 2), np.float32)}
    wanted, found = both(made, feeds)
    np.testing.assert_allclose(found["y"], wanted["y"])
    assert [w.name for w, _ in Bridge(made).trainable()] == ["w"]


def test_float16_is_trained_in_float32():
    weights = {"w": np.arange(6, dtype=np.float16).reshape(2, 3)}
    made = model(
        '<ir_version: 8, opset_import: ["" : 17]> net (float16[N, 2] x) => (float16[N, 3] y) { y = MatMul (x, w) }',
        weights,
    )
    bridge, feeds = Bridge(made), {"x": np.ones((2, 2), np.float16)}
    found = bridge.specialise(feeds).run(feeds)["y"]
    assert found.dtype == bridge.parameters[0].dtype == torch.float32
    np.testing.assert_array_equal(found.detach(), Session(made).run(feeds)["y"])


CONTRIB = {
    "Gelu": ("y = com.microsoft.Gelu (x)", {}),
    "QuickGelu": ("y = com.microsoft.QuickGelu <alpha = 1.5> (x)", {}),
    "FastGelu": ("y = com.microsoft.FastGelu (x, b)", {"b": (6,)}),
    "BiasGelu": ("y = com.microsoft.BiasGelu (x, b)", {"b": (6,)}),
    "FusedMatMul": ("y = com.microsoft.FusedMatMul <alpha = 0.5, transB = 1> (x, w)", {"w": (3, 6)}),
    "FusedConv": ('y = com.microsoft.FusedConv <activation = "Relu"> (x, w, b)', {"w": (2, 4, 3), "b": (2,)}),
    "SkipLayerNormalization": (
        "y = com.microsoft.SkipLayerNormalization (x, s, g, b)",
        {"s": (2, 4, 6), "g": (6,), "b": (6,)},
    ),
    "SkipSimplifiedLayerNormalization": (
        "y = com.microsoft.SkipSimplifiedLayerNormalization (x, s, g)",
        {"s": (2, 4, 6), "g": (6,)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRIB)
def test_ops_of_onnx_runtime_itself(name: str):
    body, shapes = CONTRIB[name]
    rng = np.random.default_rng(0)
    head = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
    text = f"{head} net (float[2, 4, 6] x) => (float y) {{ {body} }}"
    made = model(text, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})
    made.graph.outputs[0].shape = None
    wanted, found = both(made, {"x": rng.normal(size=(2, 4, 6)).astype(np.float32)})
    np.testing.assert_allclose(found["y"], wanted["y"], atol=1e-3 if "Gelu" in name else 1e-5)


SMOOTH = {
    "Conv": ({"pads": [1, 0, 0, 1], "strides": [2, 1]}, [(2, 2, 5, 4), (3, 2, 2, 2), (3,)]),
    "ConvTranspose": ({"pads": [1, 0, 0, 1], "strides": [2, 2]}, [(1, 2, 3, 3), (2, 2, 2, 3), (2,)]),
    "Gemm": ({"transA": 1, "alpha": 0.5, "beta": 2.0}, [(3, 2), (3, 4), (4,)]),
    "MatMul": ({}, [(2, 3, 4), (4, 2)]),
    "LayerNormalization": ({"axis": -1}, [(2, 3, 4), (4,), (4,)]),
    "InstanceNormalization": ({}, [(2, 3, 4), (3,), (3,)]),
    "GroupNormalization": ({"num_groups": 2}, [(2, 4, 3), (4,), (4,)]),
    "LSTM": ({"hidden_size": 3}, [(4, 2, 2), (1, 12, 2), (1, 12, 3), (1, 24)]),
    "GRU": ({"hidden_size": 3, "linear_before_reset": 1}, [(4, 2, 2), (1, 9, 2), (1, 9, 3), (1, 18)]),
    "Softmax": ({"axis": -1}, [(3, 4)]),
    "Gelu": ({}, [(3, 4)]),
    "HardSwish": ({}, [(3, 4)]),
    "AveragePool": ({"kernel_shape": [2, 2], "ceil_mode": 1, "strides": [2, 2]}, [(1, 2, 5, 5)]),
    "ReduceL2": ({"axes": [1]}, [(3, 4)]),
    "Pow": ({}, [(3, 4), (3, 4)]),
    "DepthToSpace": ({"blocksize": 2}, [(1, 8, 2, 2)]),
}


@pytest.mark.parametrize("op", SMOOTH)
def test_gradients_are_those_of_finite_differences(op: str):
    attributes, shapes = SMOOTH[op]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(s, generator=generator, dtype=torch.float64) + 0.2 for s in shapes]
    node = OpNode("n", op, 21, attributes, tuple(shapes), (torch.float64,) * len(shapes), (None,) * len(shapes))

    def run(*given: torch.Tensor) -> torch.Tensor:
        made = TABLE[op](node, *given)
        return made[0] if isinstance(made, tuple) else made

    assert torch.autograd.gradcheck(run, [t.requires_grad_() for t in inputs])


def test_a_fully_masked_softmax_row_has_a_finite_gradient():
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[2, 3] x, float[2, 3] mask) => (float[2, 3] y) <float[3] w = {1.0, 2.0, 3.0}, float zero = {0.0}> {
        s = Mul (x, w)  m = Add (s, mask)  p = Softmax (m)  dead = IsNaN (p)  y = Where (dead, zero, p) }"""
    mask = np.array([[0, 0, 0], [-np.inf] * 3], np.float32)
    feeds, bridge = {"x": np.ones((2, 3), np.float32), "mask": mask}, Bridge(model(text))
    wanted = Session(bridge.model).run(feeds)["y"]
    found = bridge.specialise(feeds).run(feeds)["y"]
    np.testing.assert_allclose(found.detach(), wanted, atol=1e-6)
    found[:, 0].sum().backward()
    (parameter,) = [p for _, p in bridge.trainable()]
    assert parameter.grad is not None
    assert torch.isfinite(parameter.grad).all()
    assert parameter.grad.abs().sum() > 0


def test_the_model_is_only_read():
    made = residual()
    before = {n: array(made, n).copy() for n in made.graph.initializers}
    bridge, feeds = Bridge(made), pictures(2).read(range(2))
    bridge.specialise(feeds).run(feeds)
    for _, parameter in bridge.trainable():
        parameter.data.add_(1.0)
    assert all(np.array_equal(array(made, n), a) for n, a in before.items())
