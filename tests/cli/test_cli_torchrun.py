"""``torchrun -m onnxcompress distill``: one voice, one file, one error, and no process that waits for another."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders.distill_models import pictures, residual, with_cut_blocks
from builders.torchrun import TWO, start

from onnxcompress import model_io

UNEVEN = 203
COMMAND = (
    "distill",
    "student.onnx",
    "--teacher",
    "teacher.onnx",
    "--data",
    "data.npz",
    "--steps",
    "12",
    "--lr",
    "1e-3",
)
# Lets process 1 fail in its third step, in the way that is named by the first word.
FAILING = """
import os, sys
from onnxcompress.cli.app import main
from onnxcompress.distill.optimization import Stepper
from onnxcompress.errors import DataError

step, way = Stepper.step, sys.argv[1]
steps = []

def fail(self, backward, rate):
    steps.append(rate)
    if os.environ["RANK"] == "1" and len(steps) == 3:
        if way == "error":
            raise DataError("cannot read sample 17", code="DATA-SAMPLE")
        os._exit(9)
    return step(self, backward, rate)

Stepper.step = fail
main(sys.argv[2:])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    teacher = residual()
    model_io.save(teacher, tmp_path / "teacher.onnx")
    model_io.save(with_cut_blocks(teacher, 5), tmp_path / "student.onnx")
    np.savez(tmp_path / "data.npz", x=pictures(UNEVEN).read(range(UNEVEN))["x"])
    return tmp_path


def codes(done: subprocess.CompletedProcess[str]) -> list[int]:
    """Exit codes of the processes that failed of themselves, as torchrun lists them."""
    return [int(code) for code in re.findall(r"exitcode\s*: (\d+)", done.stderr)]


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error:")]


@pytest.mark.ci
def test_one_process_speaks_and_writes(folder: Path) -> None:
    done = start(TWO, "-m", "onnxcompress", *COMMAND, "-o", "out.onnx", "--report", "out.json", folder=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(folder / "out.onnx")]
    assert done.stderr.count("agreement with teacher") == 1
    assert {p.name for p in folder.iterdir()} >= {"out.onnx", "out.json"}
    assert not list(folder.glob("student.*.onnx"))


@pytest.mark.ci
def test_what_is_wrong_is_said_once(folder: Path) -> None:
    (folder / "out.onnx").write_bytes(b"")
    words = list(COMMAND)
    cases = [(words, "the file exists", 2), ([*words[:5], "none.npz", "--force"], "there is no such file", 4)]
    for given, why, code in cases:
        done = start(TWO, "-m", "onnxcompress", *given, "-o", "out.onnx", folder=folder)
        assert done.returncode != 0
        (error,) = errors(done)
        assert why in error
        assert set(codes(done)) == {code}


@pytest.mark.ci
def test_a_process_that_fails_ends_the_others(folder: Path) -> None:
    (folder / "failing.py").write_text(FAILING)
    done = start(TWO, "failing.py", "error", *COMMAND, folder=folder)
    (error,) = errors(done)
    assert "cannot read sample 17" in error
    assert set(codes(done)) == {4}
    assert not (folder / "student.distilled.onnx").exists()


@pytest.mark.ci
def test_a_process_that_is_killed_ends_the_others(folder: Path) -> None:
    (folder / "failing.py").write_text(FAILING)
    done = start(TWO, "failing.py", "killed", *COMMAND, folder=folder)
    assert done.returncode != 0
    assert 9 in codes(done)
    assert not (folder / "student.distilled.onnx").exists()
