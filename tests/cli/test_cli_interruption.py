"""Ctrl-C and a full disk: one paragraph, the right exit code, and nothing left behind."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAITING = """
import time
from dataclasses import dataclass
from onnxcompress import Effect, Pass

@dataclass(frozen=True, kw_only=True)
class Wait(Pass):
    "Wait to be interrupted."
    name = "wait"
    effect = Effect.EXACT

    def run(self, model, ctx):
        open("started", "w").close()
        time.sleep(60)
        return []
"""
COMMAND = [sys.executable, "-m", "onnxcompress"]


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue


def _hear_ctrl_c() -> None:
    """A run in the background (nohup, `&`) ignores SIGINT and hands that down; a user's terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_exits_130_with_one_line_and_leaves_the_old_output(model: Path) -> None:
    folder = model.parent
    (folder / "wait.py").write_text(WAITING)
    (folder / "out.onnx").write_bytes(b"old")
    words = ["run", "wait", "model.onnx", "--pass", "wait.py:Wait", "-o", "out.onnx", "--force"]
    process = subprocess.Popen([*COMMAND, *words], cwd=folder, stdout=-1, stderr=-1, text=True, preexec_fn=_hear_ctrl_c)
    _wait_for(folder / "started", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: interrupted: nothing was written.\n")
    assert (folder / "out.onnx").read_bytes() == b"old"
    left = {p.name for p in folder.iterdir()} - {"started", "__pycache__"}
    assert left == {"model.onnx", "out.onnx", "wait.py"}


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_a_full_disk_exits_6_and_leaves_the_old_output(model: Path) -> None:
    target = model.with_name("out.onnx")
    target.write_bytes(b"old")
    words = ["run", "fold-batchnorm", "model.onnx", "-o", "out.onnx", "--force"]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    done = subprocess.run(
        [*COMMAND, *words], cwd=model.parent, capture_output=True, text=True, preexec_fn=limit, check=False
    )
    assert (done.returncode, done.stdout) == (6, "")
    assert "error: cannot write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert target.read_bytes() == b"old"
    assert {p.name for p in model.parent.iterdir()} == {"model.onnx", "out.onnx"}
