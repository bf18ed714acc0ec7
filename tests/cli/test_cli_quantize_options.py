"""Options of quantize that contradict each other, or that would do nothing, are refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "calib.npz", x=rng.normal(size=(20, 2, 4, 4)).astype(np.float32))
    return tmp_path / "calib.npz"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--float16", "--dynamic"), "--float16 and --dynamic exclude each other"),
        (("--float-type", "bfloat16", "--dynamic"), "exclude each other"),
        (("--percentile", "99"), "--calibrator histogram"),
        (("--percentile", "101", "--calibrator", "histogram"), "--percentile 101 is out of range"),
        (("--islands", "many"), "'many' is neither a number nor auto"),
        (("--workers", "0"), "--workers 0 is no number of processes"),
        (("--workers", "-1"), "--workers -1 is no number of processes"),
    ],
)
def test_what_is_refused_before_any_pass(
    cli: CommandLine, model: Path, data: Path, words: tuple[str, ...], told: str
) -> None:
    outcome = cli("quantize", model, "--data", data, *words)
    assert outcome.code == 2 and told in outcome.err and "normalize" not in outcome.err


@pytest.mark.parametrize("kind", ["int4", "float8", "int8"])
def test_the_note_without_data_names_the_type_of_the_weights(cli: CommandLine, model: Path, kind: str) -> None:
    outcome = cli("quantize", model, "--weights", kind, "--allow-unchanged")
    assert outcome.code == 0 and f"note: {kind} weights only" in outcome.err
    assert ("also computes in int8" in outcome.err) == (kind == "int8")


def test_a_report_that_exists_is_refused_with_its_own_flag(cli: CommandLine, model: Path) -> None:
    (page := model.with_name("page.html")).write_text("mine")
    outcome = cli("quantize", model, "--report", page)
    assert outcome.code == 2 and "Give another name with --report, or --force" in outcome.err


def test_the_labels_may_be_those_of_the_samples_that_measure(cli: CommandLine, model: Path) -> None:
    rng = np.random.default_rng(1)
    calib, test = (rng.normal(size=(n, 2, 4, 4)).astype(np.float32) for n in (20, 9))
    np.savez(file := model.with_name("both.npz"), calib=calib, x=test, truth=np.zeros(9, np.int64))
    metric = model.with_name("metric.py")
    metric.write_text("def count(outputs, labels):\n    return float(len(labels))\n")
    given = ("--data", file, "--map", "x=calib", "--eval-data", file, "--eval-map", "x=x", "--effort", "fast", "--json")
    outcome = cli("quantize", model, *given, "--labels", "truth", "--metric", f"{metric}:count")
    assert outcome.code == 0 and json.loads(outcome.out)["quality"]["metric_after"] == 9
    assert "has no key 'none'" in cli("quantize", model, *given, "--force", "--labels", "none").err
