"""Attention, and a product with its bias, become one step of torch with the same numbers and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import model
from torch.nn import functional as nnf

from onnxcompress.distill.bridge import Bridge, TorchGraph
from onnxcompress.runtime import Session

HEAD = '<ir_version: 8, opset_import: ["" : 17]>\nnet (float[N, 2, 5, 4] q, float[N, 2, 6, 4] k, float[N, 2, 6, 3] v'
PLAIN = """
    t = Transpose <perm = [0, 1, 3, 2]> (k)
    s = MatMul (q, t)
    p = Softmax <axis = -1> (s)
    y = MatMul (p, v)
"""
SCALED = """
    c = Constant <value_float = 0.5> ()
    h = Mul (q, c)
""" + PLAIN.replace("MatMul (q, t)", "MatMul (h, t)")
RNG = np.random.default_rng(0)
FEEDS = {n: RNG.normal(size=(3, 2, *s)).astype(np.float32) for n, s in (("q", (5, 4)), ("k", (6, 4)), ("v", (6, 3)))}


def net(body: str, out: str = "y", more: str = "") -> Bridge:
    weights = {"w": RNG.normal(size=(2, 5, 6)).astype(np.float32)}
    made = model(f"{HEAD}{more}) => (float[N, 2, 5, 3] {out}) {{ {body} }}", weights if "w" in body else {})
    return Bridge(made)


def fused(graph: TorchGraph, target: object) -> bool:
    return any(node.target is target for node in graph.module.graph.nodes)


@pytest.mark.parametrize("body", [PLAIN, SCALED], ids=["plain", "scaled before"])
def test_attention_is_one_step_with_the_numbers_and_gradients_of_its_parts(body: str) -> None:
    bridge = net(body)
    graph = bridge.specialise(FEEDS)
    (one,) = [n for n in graph.module.graph.nodes if n.target is nnf.scaled_dot_product_attention]
    assert one.kwargs["scale"] == (0.5 if body is SCALED else 1.0)
    inputs = [torch.tensor(FEEDS[name], requires_grad=True) for name in graph.inputs]
    made = graph.module(*inputs)["y"]
    np.testing.assert_allclose(made.detach(), Session(bridge.model).run(FEEDS)["y"], rtol=1e-5, atol=1e-6)
    by_parts = bridge.specialise(FEEDS, taps=["p"])
    assert not fused(by_parts, nnf.scaled_dot_product_attention)
    others = [torch.tensor(FEEDS[name], requires_grad=True) for name in by_parts.inputs]
    weight = torch.arange(made.numel()).reshape(made.shape) / made.numel()
    (made * weight).sum().backward()
    (by_parts.module(*others)["y"] * weight).sum().backward()
    for mine, other in zip(inputs, others, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        PLAIN.replace("Softmax <axis = -1>", "Softmax <axis = 2>"),
        PLAIN.replace("p = Softmax <axis = -1> (s)", "m = Add (s, w)  p = Softmax <axis = -1> (m)"),
        PLAIN.replace("y = MatMul (p, v)", "z = MatMul (p, v)  m = ReduceMean <axes = [-1]> (s)  y = Add (z, m)"),
        PLAIN.replace("y = MatMul (p, v)", "z = MatMul (p, v)  m = ReduceMean <axes = [-1]> (p)  y = Add (z, m)"),
    ],
    ids=["another axis", "mask", "scores read twice", "weights read twice"],
)
def test_what_is_not_plain_attention_is_left_as_it_is(body: str) -> None:
    bridge = net(body)
    graph = bridge.specialise(FEEDS)
    assert not fused(graph, nnf.scaled_dot_product_attention)
    np.testing.assert_allclose(
        graph.run(FEEDS)["y"].detach(), Session(bridge.model).run(FEEDS)["y"], rtol=1e-4, atol=1e-5
    )


DENSE = '<ir_version: 8, opset_import: ["" : 17]>\nnet (float[N, 3, 4] x) => (float[N, 3, 5] y) {'


@pytest.mark.parametrize(
    ("body", "one"),
    [
        ("m = MatMul (x, w)  y = Add (m, b) }", True),
        ("t = Transpose <perm = [1, 0]> (u)  m = MatMul (x, t)  y = Add (b, m) }", True),
        ("m = MatMul (x, w)  a = Add (m, b)  y = Mul (a, m) }", False),
        ("m = MatMul (x, w)  y = Add (m, one) }", False),
    ],
)
def test_a_product_and_its_bias_are_one_step(body: str, one: bool) -> None:
    sizes = {"w": (4, 5), "u": (5, 4), "b": (5,), "one": (1,)}
    read = {name for name in sizes if f" {name})" in body or f"({name}" in body}
    weights = {name: RNG.normal(size=sizes[name]).astype(np.float32) for name in sorted(read)}
    bridge = Bridge(model(DENSE + body, weights))
    feeds = {"x": RNG.normal(size=(2, 3, 4)).astype(np.float32)}
    graph = bridge.specialise(feeds)
    assert fused(graph, nnf.linear) is one
    made = graph.run(feeds)["y"]
    np.testing.assert_allclose(made.detach(), Session(bridge.model).run(feeds)["y"], rtol=1e-5, atol=1e-6)
    made.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in bridge.parameters)
    assert set(graph.nodes.values()) <= {node.name for node in graph.module.graph.nodes}
