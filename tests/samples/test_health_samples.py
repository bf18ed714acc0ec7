"""The health samples' metrics and data are what their pages say: formulas by hand, patients apart, positives enough."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import numpy as np
import pytest

from onnxcompress.data import load_metric, open_data
from onnxcompress.errors import UsageError
from onnxcompress.model_io import load
from onnxcompress.verify import Gate

SAMPLES = Path(__file__).parents[2] / "samples"
METRIC = SAMPLES / "health_ecg" / "metric.py"
LABELS = np.array([1, 1, 1, 1, 0, 0, 2, 2])
ANSWERS = np.array([1, 1, 1, 0, 0, 1, 2, 2])
SHARED = Path(os.environ.get("ONNXCOMPRESS_TEST_DATA", ""))


def logits(answers: np.ndarray, confidence: float) -> dict[str, np.ndarray]:
    """Answers of three classes with one confidence."""
    odds = np.full((len(answers), 3), (1 - confidence) / 2)
    odds[np.arange(len(answers)), answers] = confidence
    return {"logits": np.log(odds).astype(np.float32)}


@pytest.mark.parametrize(
    ("name", "value", "counted"),
    [("sensitivity", 3 / 4, 4), ("specificity", 3 / 4, 4), ("calibration_error", -(0.9 - 6 / 8), 8)],
)
def test_a_metric_is_its_formula_and_counts_what_it_divides_by(name, value, counted):
    metric = load_metric(f"{METRIC}:{name}")
    assert metric(logits(ANSWERS, 0.9), LABELS) == pytest.approx(value)
    assert metric.counted(LABELS) == counted


def test_what_is_held_is_sensitivity_and_calibration_by_name_and_counts_the_positives():
    metric = load_metric(f"{METRIC}:held")
    assert metric(logits(ANSWERS, 0.9), LABELS) == pytest.approx({"sensitivity": 3 / 4, "calibration": -(0.9 - 6 / 8)})
    assert metric.counted(LABELS) == 4


def test_the_calibration_error_weighs_each_bin_by_its_samples():
    metric = load_metric(f"{METRIC}:calibration_error")
    sure, unsure = logits(LABELS, 0.95)["logits"], logits(ANSWERS, 0.5)["logits"]
    both = {"logits": np.concatenate([sure, unsure])}
    expected = 0.5 * (1 - 0.95) + 0.5 * (6 / 8 - 0.5)
    assert metric(both, np.concatenate([LABELS, LABELS])) == pytest.approx(-expected)


def test_no_patient_of_the_test_is_in_training():
    data = np.load(SAMPLES / "data" / "ecg.npz")
    assert not set(data["record_train"]) & set(data["record_test"])
    assert set(data["record_same"]) <= set(data["record_train"])
    assert (SAMPLES / "data" / "ecg.npz").stat().st_size < 700_000


def test_either_half_trains_and_the_other_tests():
    first, second = (np.load(SAMPLES / "health_risk" / f"fold{number}.npz") for number in (0, 1))
    assert first["y_test"].sum() == second["y_test"].sum() == 106
    assert not {row.tobytes() for row in first["x_train"]} & {row.tobytes() for row in first["x_test"]}
    for one, other in ((first, second), (second, first)):
        test = one["x_test"].astype(np.float64)
        scaled = (test - test.mean(axis=0)) / test.std(axis=0)
        np.testing.assert_allclose(scaled, other["x_train"], atol=1e-4)
        np.testing.assert_array_equal(one["y_test"], other["y_train"])


@pytest.mark.parametrize(
    ("folder", "model", "data", "mapping", "resolved", "refused"),
    [
        ("health_ecg", "ecg.onnx", "data/ecg.npz", {"beat": "x_test"}, "0.5pt", "0.4pt"),
        ("health_risk", "risk.onnx", "health_risk/fold0.npz", {"features": "x_test"}, "1pt", "0.5pt"),
    ],
)
def test_the_gate_of_the_page_is_the_smallest_that_its_positives_resolve(
    folder, model, data, mapping, resolved, refused
):
    float_model, metric = load(SAMPLES / folder / model), load_metric(f"{METRIC}:held")
    source = open_data(SAMPLES / data, float_model, mapping=mapping, scale=1)
    Gate(max_drop=resolved).check_resolution(source, float_model, metric=metric)
    with pytest.raises(UsageError, match="samples that the metric counts"):
        Gate(max_drop=refused).check_resolution(source, float_model, metric=metric)


@pytest.mark.data
def test_the_data_script_makes_the_committed_beats():
    made = runpy.run_path(str(SAMPLES / "data" / "make_ecg.py"))["ecg"](SHARED)
    kept = np.load(SAMPLES / "data" / "ecg.npz")
    assert list(made) == kept.files
    for key in kept.files:
        np.testing.assert_array_equal(made[key], kept[key])
