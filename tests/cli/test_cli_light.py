"""The command line starts fast: what it may import before a command runs, checked in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from onnxcompress.cli.app import COMMANDS

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "torch", "PIL", "jinja2", "google.protobuf", "sympy")
PROBE = f"""
import sys
from onnxcompress.cli.app import run
code = run(sys.argv[1:])
sys.stderr.write("LOADED " + ",".join(name for name in {HEAVY!r} if name in sys.modules) + "\\n")
sys.exit(code)
"""


def _loaded(*words: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [("--help",), *((name, "--help") for name in COMMANDS), ("--version",), ("passes",)])
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert _loaded(*words) == (0, "LOADED ")


@pytest.mark.parametrize("command", ["prune", "quantize", "distill", "inspect"])
def test_a_missing_file_is_refused_before_heavy_imports(command: str, tmp_path: Path) -> None:
    assert _loaded(command, str(tmp_path / "none.onnx")) == (3, "LOADED ")


def test_a_dry_run_needs_no_model_library(tmp_path: Path) -> None:
    from builders.command_line import write_model

    model = write_model(tmp_path / "model.onnx")
    assert _loaded("run", "normalize", str(model), "--dry-run") == (0, "LOADED ")


def test_the_module_and_its_pipe() -> None:
    """A reader that stops after one line is no error."""
    script = f"{sys.executable} -m onnxcompress passes --json | head -n 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")
