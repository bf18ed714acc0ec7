"""Every real model through insert-qdq: nearly all multiplications read integers, and accuracy holds."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.data import ArraySource
from onnxcompress.passes.quantization.coverage import quantized_share
from onnxcompress.passes.quantization.lint import lint
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.targets import load_target
from onnxcompress.testing import context
from onnxcompress.verify import compare

pytestmark = pytest.mark.data
FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."))
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = [
    "FastestDet", "bccd_dwcnn", "breast_cancer_mlp", "dtln_model_1", "ecg_resnet1d_ds1", "espcn_x3", "fmnist_resnet8",
    "fmnist_vgg_bn", "fmnist_vit", "fsdd_gru", "g2p_decoder_step", "g2p_encoder", "gtcrn_simple",
    "mobilenet_v1_0.25_128", "point_history_classifier_lstm", "ppocrv5_cls", "resemblyzer", "silero_vad_16k_op15",
    "version-RFB-320", "vww_mobilenetv1_025_96", "yunet_n_dynamic",
]  # fmt: skip
WITHOUT_PRODUCTS = ("g2p_encoder",)  # its only multiplications are those of a GRU


@pytest.fixture(scope="module")
def catalog():
    if "ONNXCOMPRESS_TEST_DATA" not in os.environ:
        pytest.skip("ONNXCOMPRESS_TEST_DATA names no folder")
    spec = importlib.util.spec_from_file_location("real_model_catalog", BENCHMARKS / "catalog.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.catalog(FOLDER)


def quantized(entry, data, target: str, **options):
    model = model_io.load(str(entry.path))
    ctx = context(model, data=data, target=target)
    for pass_ in (oc.Normalize(), oc.FoldBatchNorm()):
        list(pass_.run(model, ctx))
    return model, list(oc.InsertQDQ(**options).run(model, ctx))


@pytest.mark.parametrize("name", NAMES)
def test_at_least_four_fifths_of_the_multiplications_read_integers(catalog, name: str) -> None:
    entry = catalog[name]
    samples = entry.samples()
    data = ArraySource({k: v[:16] for k, v in samples.train.items()})
    model, findings = quantized(entry, data, "ort-cpu", effort="fast")  # all that has a kernel, whether or not it pays
    codes = {f.code for f in findings}
    if name in WITHOUT_PRODUCTS:
        assert "QUANT-NOTHING" in codes
        return
    assert "QUANT-DONE" in codes and quantized_share(model) >= 0.8


@pytest.mark.parametrize("target", ["ort-cpu", "tensorrt"])
@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("fmnist_resnet8", 0.8), ("fmnist_vgg_bn", 0.8), ("fmnist_vit", 1.0), ("bccd_dwcnn", 0.8),
        ("ecg_resnet1d_ds1", 0.8), ("fsdd_gru", 0.8), ("breast_cancer_mlp", 0.8), ("ppocrv5_cls", 2.5),
    ],
)  # fmt: skip
def test_accuracy_holds(catalog, name: str, points: float, target: str) -> None:
    entry = catalog[name]
    samples = entry.samples()
    data = ArraySource({k: v[:256] for k, v in samples.train.items()})
    model, _ = quantized(entry, data, target)
    held_out = ArraySource({k: v[:1000] for k, v in samples.test.items()}, samples.test_labels[:1000])
    reference = model_io.load(str(entry.path))
    found = compare(reference, model, held_out, options=RuntimeOptions(threads=1)).to_dict()
    assert 100 * (found["accuracy_before"] - found["accuracy_after"]) <= points
    assert np.isfinite(found["accuracy_after"]) and lint(model, load_target(target)) == []
