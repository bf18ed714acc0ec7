"""Sizes that the samples decide: found anew in each run, and never taken from the example."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import torch
from builders.distill_models import model

from onnxcompress.distill.bridge import Bridge
from onnxcompress.runtime import Session

# Rows whose gate is positive go through an expert, are scaled by how many they are, and are put back.
ROUTED = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] x) => (float[N, 4] y) <float zero = {0.0}, int64[1] last = {1}> {
    gate = MatMul (x, wg)
    flat = Squeeze (gate, last)
    hit = Greater (flat, zero)
    found = NonZero (hit)
    rows = Transpose <perm = [1, 0]> (found)
    chosen = GatherND (x, rows)
    hidden = MatMul (chosen, we)
    count = Size (hidden)
    number = Cast <to = 1> (count)
    scaled = Div (hidden, number)
    shape = Shape (scaled)
    doubled = Expand (scaled, shape)
    sizes = Shape (x)
    empty = ConstantOfShape (sizes)
    back = ScatterND (empty, rows, doubled)
    out = MatMul (back, wo)
    y = Add (out, x)
}
"""


def routed() -> ir.Model:
    draw = np.random.default_rng(1)
    widths = {"wg": (4, 1), "we": (4, 4), "wo": (4, 4)}
    return model(ROUTED, {name: draw.standard_normal(size).astype(np.float32) for name, size in widths.items()})


@pytest.fixture
def batches() -> list[dict[str, np.ndarray]]:
    """Batches of one size, with different numbers of rows that are chosen."""
    draw = np.random.default_rng(0)
    return [{"x": (draw.standard_normal((6, 4)) + shift).astype(np.float32)} for shift in (0, 1, -1, 3)]


def test_one_module_serves_batches_with_other_numbers_of_rows(batches: list[dict[str, np.ndarray]]) -> None:
    made = routed()
    session, bridge = Session(made, optimize=False, taps=["rows"]), Bridge(made)
    counts = set()
    for feeds in batches:
        wanted = session.run(feeds)
        counts.add(len(wanted["rows"]))
        found = bridge.specialise(feeds).run(feeds)["y"]
        np.testing.assert_allclose(found.detach(), wanted["y"], atol=1e-5)
    assert len(counts) > 1, "the batches should differ in what they choose"
    assert bridge.specialise(batches[0]) is bridge.specialise(batches[1])


def test_experts_get_gradients(batches: list[dict[str, np.ndarray]]) -> None:
    bridge = Bridge(routed())
    bridge.specialise(batches[0]).run(batches[0])["y"].square().sum().backward()
    reached = {w.name for w, p in bridge.trainable() if p.grad is not None and bool(torch.isfinite(p.grad).all())}
    assert {"we", "wo"} <= reached


def test_tensors_of_no_fixed_size_are_not_compared_and_scattered_ones_are(batches: list[dict[str, np.ndarray]]) -> None:
    sizes = Bridge(routed()).specialise(batches[0]).sizes
    assert "hidden" not in sizes
    assert sizes["back"] == sizes["y"] == (6, 4)
