"""Half of the MACs of real models, 256 unlabelled samples, no training: what the accuracy may lose."""

from __future__ import annotations

import numpy as np
import pytest

import onnxcompress as oc
from onnxcompress.data import ArraySource
from onnxcompress.runtime_options import RuntimeOptions

pytestmark = [pytest.mark.data, pytest.mark.nightly]

PICTURES = {"fmnist_resnet8": 0.036, "fmnist_vgg_bn": 0.015, "fmnist_vit": 0.031}
"""Points that may go: the larger of 1.5 and 5 % of what plain L1 loses."""


@pytest.mark.parametrize("name", PICTURES)
def test_half_of_the_macs_costs_little(name, real_data):
    with np.load(real_data / "data" / "fashion_mnist.npz") as archive:
        raw = {key: archive[key] for key in archive.files}
    ready = {key: ((raw[key][:, None] / 255.0 - 0.2860) / 0.3530).astype(np.float32) for key in ("x_train", "x_test")}
    result = oc.prune(
        str(real_data / "models" / f"{name}.onnx"),
        target_macs="0.5x",
        data=ArraySource({"input": ready["x_train"][:256]}),
        eval_data=ArraySource({"input": ready["x_test"]}, raw["y_test"]),
        runtime=RuntimeOptions(threads=1),
    )
    quality = result.report.quality
    assert result.report.after["macs"] <= 0.505 * result.report.before["macs"]
    assert quality["accuracy_after"] >= quality["accuracy_before"] - PICTURES[name]
