"""The networks of samples/models are worth compressing: accurate, below 2 MB, and wide enough that half is worse."""

from __future__ import annotations

import json
import runpy
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from onnxcompress.data import open_data
from onnxcompress.model_io import load
from onnxcompress.runtime import run_source
from onnxcompress.runtime_options import RuntimeOptions

SAMPLES = Path(__file__).parents[2] / "samples"
FASHION = {"mapping": {"image": "x_test"}, "mean": 0.2860, "std": 0.3530, "scale": 1 / 255}
LEAST = {"vgg16": 85, "resnet50": 82, "alexnet": 82, "mobilenet_v1": 79, "mobilenet_v2": 81}


@cache
def accuracy(name: str) -> float:
    """Percent of the 1,500 test pictures; twice the size for AlexNet, as its sample does it."""
    model = load(SAMPLES / "models" / f"{name}.onnx")
    if name.startswith("alexnet"):
        arrays = runpy.run_path(str(SAMPLES / "alexnet_pruning" / "pictures.py"))["test"]()
        source = open_data(arrays, model, **{**FASHION, "mapping": {}})
    else:
        source = open_data(SAMPLES / "data" / "fashion.npz", model, **FASHION)
    runs = run_source(model, source, options=RuntimeOptions(threads=1), batch=100)
    answers = np.concatenate([outputs["logits"] for outputs in runs]).argmax(axis=1)
    assert len(answers) == 1500
    return 100 * float((answers == source.labels(np.arange(len(source)))).mean())


@pytest.mark.parametrize("name", LEAST)
def test_a_network_is_small_and_reaches_its_accuracy(name: str) -> None:
    assert (SAMPLES / "models" / f"{name}.onnx").stat().st_size < 2_000_000
    assert accuracy(name) >= LEAST[name]


@pytest.mark.parametrize("name", LEAST)
def test_half_of_its_width_trained_alike_is_a_point_worse(name: str) -> None:
    twins = json.loads((SAMPLES / "models" / "twins.json").read_text(encoding="utf-8"))[name]
    assert len(twins) == 3
    assert max(twins) <= accuracy(name) - 1
    assert accuracy(f"{name}_half") == pytest.approx(twins[0], abs=0.5)
