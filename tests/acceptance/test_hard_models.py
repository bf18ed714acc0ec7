"""Models that plain static int8 ruins: an unattended `quantize --data` loses at most a point."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import onnxcompress as oc
from onnxcompress.data import ArraySource
from onnxcompress.runtime_options import RuntimeOptions

pytestmark = [pytest.mark.data, pytest.mark.nightly]
FOLDER = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", "."))
OPTIONS = RuntimeOptions(threads=1)


def _direction(grey: np.ndarray) -> np.ndarray:
    mean, std = (np.asarray(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return ((np.repeat(grey[:, None], 3, axis=1) / 255.0 - mean) / std).astype(np.float32)


def test_a_text_direction_classifier_loses_at_most_a_point() -> None:
    raw = np.load(FOLDER / "data" / "ocr_direction.npz")
    result = oc.quantize(
        str(FOLDER / "models" / "ppocrv5_cls.onnx"),
        data=ArraySource({"x": _direction(raw["calib"])}),
        eval_data=ArraySource({"x": _direction(raw["x"])}, raw["y"]),
        runtime=OPTIONS,
    )
    quality = result.report.quality
    assert quality["samples"] == 1000 and quality["accuracy_after"] >= quality["accuracy_before"] - 0.0101
    assert {"QUANT-NO-GAIN", "QUANT-JUDGED"} <= {f.code for f in result.report.findings}


def test_an_lstm_speaker_encoder_becomes_three_times_smaller() -> None:
    raw = np.load(FOLDER / "data" / "speakers_mel.npz")
    result = oc.quantize(
        str(FOLDER / "models" / "resemblyzer.onnx"), data=ArraySource({"mel": raw["calib"]}), runtime=OPTIONS
    )
    assert result.report.before["bytes"] >= 3 * result.report.after["bytes"]
    step = next(f for f in result.report.findings if f.code == "QUANT-STEP" and "LSTM" in f.message)
    assert step.severity == "warning" and step.numbers["kept"] == 1  # what it costs is said
