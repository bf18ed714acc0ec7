"""The command line starts fast: what it may import before a command runs, checked in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from onnxcompress.cli.app import COMMANDS

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "torch", "PIL", "jinja2", "google.protobuf", "sympy")
PROBE = f"""
import contextlib, io, sys
from onnxcompress.cli.app import run
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    codes = [run(words.split()) for words in sys.argv[1:]]
print(codes, [name for name in {HEAVY!r} if name in sys.modules])
"""


def _codes_and_imports(*commands: str) -> str:
    """Exit codes of commands that run in one new process, and which heavy modules are loaded after them."""
    done = subprocess.run([sys.executable, "-c", PROBE, *commands], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_help_imports_nothing_heavy() -> None:
    commands = ["--help", *(f"{name} --help" for name in COMMANDS), "--version", "passes", "passes insert-qdq"]
    assert _codes_and_imports(*commands) == f"{[0] * len(commands)} []"


def test_a_missing_file_is_refused_before_heavy_imports(tmp_path: Path) -> None:
    commands = [f"{name} {tmp_path / 'none.onnx'}" for name in ("prune", "quantize", "inspect")]
    assert _codes_and_imports(*commands) == "[3, 3, 3] []"


def test_a_dry_run_needs_no_model_library(tmp_path: Path) -> None:
    from builders.command_line import write_model

    model = write_model(tmp_path / "model.onnx")
    assert _codes_and_imports(f"run normalize {model} --dry-run", f"prune {model} --dry-run") == "[0, 0] []"


def test_the_module_and_its_pipe() -> None:
    """A reader that stops after one line is no error."""
    script = f"{sys.executable} -m onnxcompress passes --json | head -n 1"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")
