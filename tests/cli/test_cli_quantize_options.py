"""Options of quantize that contradict each other, or that would do nothing, are refused before any work."""

from __future__ import annotations

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
