"""Batch normalization behind convolutions for the time of training."""

from __future__ import annotations

import numpy as np
import torch
from builders.distill_models import model, node_list, pictures, residual, with_cut_blocks

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import distill
from onnxcompress.distill.job import Job
from onnxcompress.distill.revive import Revival
from onnxcompress.distill.settings import Settings
from onnxcompress.graph import clone
from onnxcompress.runtime_options import RuntimeOptions

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 6, 6] x) => (float[N, 2] y) {
  a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  r = Relu (a)
  c = Conv <pads = [1, 1, 1, 1]> (r, v, d)
  p = GlobalAveragePool (c)
  y = Flatten (p)
}"""


def net():
    draw = np.random.default_rng(3)
    shapes = {"w": (4, 3, 3, 3), "b": (4,), "v": (2, 4, 3, 3), "d": (2,)}
    return model(NET, {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def feeds(count: int = 16) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(4).normal(1.0, 2.0, (count, 3, 6, 6)).astype(np.float32)}


def outputs(bridge: Bridge, *, live: bool = False) -> torch.Tensor:
    with torch.no_grad():
        return bridge.specialise(feeds(), ["a", "c"], live=live).run(feeds())["y"]


def test_at_the_start_nothing_changes_and_folding_at_once_neither():
    bridge = Bridge(net())
    before = outputs(bridge)
    revival = Revival(bridge, feeds())
    assert len(revival) == 2
    torch.testing.assert_close(outputs(bridge), before, rtol=1e-4, atol=1e-5)
    revival.fold()
    torch.testing.assert_close(outputs(bridge), before, rtol=1e-4, atol=1e-5)


def test_what_was_learned_and_followed_is_folded_into_the_weights():
    bridge = Bridge(net())
    revival = Revival(bridge, feeds())
    other = {"x": feeds()["x"] * 3 - 1}
    bridge.specialise(other, live=True).run(other)
    with torch.no_grad():
        for tensor in revival.tensors:
            tensor.mul_(1.3)
    wanted = outputs(bridge)
    revival.fold()
    torch.testing.assert_close(outputs(bridge), wanted, rtol=1e-4, atol=1e-4)


def test_only_a_live_module_uses_and_follows_the_batch():
    bridge = Bridge(net())
    revival = Revival(bridge, feeds())
    started = [t.clone() for t in revival.statistics]
    other = {"x": feeds()["x"] * 5}
    with torch.no_grad():
        calm = bridge.specialise(other).run(other)["y"]
        assert all(torch.equal(a, b) for a, b in zip(started, revival.statistics, strict=True))
        live = bridge.specialise(other, live=True).run(other)["y"]
    assert not torch.allclose(calm, live)
    assert not any(torch.equal(a, b) for a, b in zip(started, revival.statistics, strict=True))


def test_a_student_is_trained_with_it_and_keeps_its_graph():
    teacher = residual()
    student = with_cut_blocks(teacher, 5)
    untrained, nodes = clone(student), node_list(student)
    settings = Settings(steps=60, batch_size=32, rate=3e-3, bn="revive")
    findings = distill(Job(student, teacher, pictures(400), None, settings, RuntimeOptions(threads=1)))
    codes = {f.code: f for f in findings}
    trained = codes["DISTILL-TRAINED"].numbers
    assert trained["agreement_after"] > trained["agreement_before"] + 0.05
    assert codes["DISTILL-REVIVED"].numbers["layers"] > 0
    assert node_list(student) == nodes == node_list(untrained)
    assert student.graph.initializers.keys() == untrained.graph.initializers.keys()
