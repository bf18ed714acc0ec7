"""The commands of docs/health.md and of the health samples' pages do what is written beside them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command(page: str) -> list[str]:
    """The first onnxcompress command of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(r"^    (onnxcompress (?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1].replace("\\\n", " "))[1:]


def run(words: list[str], output: Path) -> subprocess.CompletedProcess[str]:
    words = [str(output) if word == "small.onnx" else word for word in words]
    line = [sys.executable, "-m", "onnxcompress", *words, "--threads", "1"]
    environment = {**os.environ, "COLUMNS": "400"}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_the_page_of_health_risk_shows_the_refusal_as_it_is(tmp_path: Path) -> None:
    done = run(command("samples/health_risk/README.md"), tmp_path / "small.onnx")
    assert done.returncode == 2
    assert not (tmp_path / "small.onnx").exists()
    page = " ".join((ROOT / "samples" / "health_risk" / "README.md").read_text(encoding="utf-8").split())
    assert " ".join(done.stderr.splitlines()[-1].split()) in page


def test_both_pages_about_heart_beats_show_one_command() -> None:
    assert command("docs/health.md") == command("samples/health_ecg/README.md")


@pytest.mark.parametrize(
    ("samples", "code", "words"),
    [("x_same", 2, "one of 152 samples that the metric counts weighs 0.658pt"), ("x_test", 5, "sensitivity lost")],
)
def test_a_rough_cut_is_refused_and_too_few_positives_are_told(
    tmp_path: Path, samples: str, code: int, words: str
) -> None:
    gate = ["--metric", "samples/health_ecg/metric.py:held", "--max-drop", "0.5pt", "--scale", "1/16"]
    data = ["--eval-data", "samples/data/ecg.npz", "--eval-map", f"beat={samples}", *gate]
    cut = ["prune", "samples/health_ecg/ecg.onnx", "--score", "l1", "--target-macs", "0.25x", "-o", "small.onnx"]
    done = run([*cut, *data], tmp_path / "small.onnx")
    assert done.returncode == code
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.ci
def test_the_recipe_holds_its_gate_or_writes_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small.onnx"
    done = run(command("docs/health.md"), small)
    assert done.returncode in (0, 5), done.stderr[-2000:]  # one beat more or less is the processor's rounding
    assert small.exists() == (done.returncode == 0)
    if small.exists():
        assert small.stat().st_size < (ROOT / "samples/health_ecg/ecg.onnx").stat().st_size / 6
        assert all(name in done.stderr for name in ("sensitivity", "calibration"))
