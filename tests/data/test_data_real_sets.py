"""Every real data set feeds its model as its notice says, and the published accuracy comes out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from onnxcompress.data import check_data, open_data
from onnxcompress.model_io import load
from onnxcompress.runtime import run_source
from onnxcompress.runtime_options import RuntimeOptions

pytestmark = pytest.mark.data

FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."))
FASHION = {"mean": 0.2860, "std": 0.3530, "mapping": {"input": "x_test"}}
CASES = {
    "fmnist_vgg_bn": ("fashion_mnist", FASHION),
    "fmnist_resnet8": ("fashion_mnist", FASHION),
    "fmnist_vit": ("fashion_mnist", FASHION),
    "bccd_dwcnn": ("bccd_cells", {"mean": 0.6, "std": 0.2, "mapping": {"input": "x_test"}}),
    "ecg_resnet1d_ds1": ("ecg_mitbih_ds1", {"mapping": {"beat": "x_test"}}),
    "fsdd_gru": ("fsdd_logmel", {"mapping": {"logmel": "x_test"}}),
    "breast_cancer_mlp": ("breast_cancer", {"mapping": {"input": "x_test"}}),
    "point_history_classifier_lstm": ("gesture_point_history", {"mapping": {"score_threshold": "0"}}),
}


@pytest.mark.parametrize("name", CASES)
def test_accuracy_of_the_reference_values(name):
    data, options = CASES[name]
    model = load(FOLDER / "models" / f"{name}.onnx")
    source = open_data(FOLDER / "data" / f"{data}.npz", model, **options)
    assert check_data(source, model) == []
    runs = run_source(model, source, options=RuntimeOptions(threads=1), batch=64)
    answers = np.concatenate([next(iter(outputs.values())) for outputs in runs])
    classes = answers if answers.ndim == 1 else answers.argmax(axis=1)
    accuracy = float((classes == source.labels(np.arange(len(source)))).mean())
    expected = json.loads((FOLDER / "reference_values.json").read_text())[name]
    assert accuracy == pytest.approx(expected, abs=6e-5)


def test_grey_text_lines_fill_a_colour_model():
    model = load(FOLDER / "models" / "ppocrv5_cls.onnx")
    path = FOLDER / "data" / "ocr_direction.npz"
    source = open_data(path, model, preset="imagenet", mapping={"x": "x"}, samples=200)
    assert source.read([0])["x"].shape == (1, 3, 80, 160)
    assert check_data(source, model) == []
    answers = np.concatenate([next(iter(o.values())) for o in run_source(model, source, batch=50)])
    accuracy = (answers.argmax(axis=1) == source.labels(np.arange(200))).mean()
    assert accuracy == pytest.approx(0.92, abs=0.05)
    calibration = open_data(path, model, preset="imagenet", mapping={"x": "calib"})
    assert len(calibration) == 200 and calibration.labels([0]) is None


def test_speakers_are_float_features_with_a_free_length():
    model = load(FOLDER / "models" / "resemblyzer.onnx")
    source = open_data(FOLDER / "data" / "speakers_mel.npz", model, mapping={"mel": "calib"})
    assert len(source) == 120 and source.read([5])["mel"].shape == (1, 160, 40)
    assert source.labels([0]) is not None
    assert check_data(source, model) == []


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128", "vww_mobilenetv1_025_96", "FastestDet", "version-RFB-320"])
def test_photographs_feed_every_picture_model(name):
    model = load(FOLDER / "models" / f"{name}.onnx")
    source = open_data(FOLDER / "data" / "photos", model, preset="unit")
    assert len(source) == 10
    assert check_data(source, model) == []
