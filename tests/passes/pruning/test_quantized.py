"""Quantized constants count by what they stand for."""

from __future__ import annotations

import numpy as np
from builders.pruning_models import net

from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.testing import context


def test_channels_go_by_their_real_size():
    # The numbers of channels 1 and 3 are far from 0, and next to their zero point.
    numbers = np.array([[10, 200, 60, 101], [20, 202, 90, 99], [40, 201, 70, 102]], np.uint8)
    points, scales = np.array([0, 200, 0, 100], np.uint8), np.array([1, 1, 1, 1], np.float32)
    text = (
        "g (float[N,3] x) => (float[N,2] y) { w = DequantizeLinear<axis=1>(q, s, z) a = MatMul(x, w) "
        "r = Relu(a) y = MatMul(r, w1) }"
    )
    model = net(text, {}, q=numbers, s=scales, z=points, w1=np.ones((4, 2), np.float32))
    list(PruneChannels(ratio=0.5).run(model, context(model)))
    np.testing.assert_array_equal(model.graph.initializers["q"].const_value.numpy(), numbers[:, [0, 2]])


def test_a_scale_by_channel_counts():
    numbers = np.array([[10, -10, 20, 30], [20, 30, -20, 10]], np.int8)
    scales = np.array([0.01, 1.0, 0.02, 2.0], np.float32)
    text = (
        "g (float[N,2] x) => (float[N,2] y) { w = DequantizeLinear<axis=1>(q, s) a = MatMul(x, w) "
        "r = Relu(a) y = MatMul(r, w1) }"
    )
    model = net(text, {}, q=numbers, s=scales, w1=np.ones((4, 2), np.float32))
    list(PruneChannels(ratio=0.5).run(model, context(model)))
    np.testing.assert_array_equal(model.graph.initializers["s"].const_value.numpy(), scales[[1, 3]])
