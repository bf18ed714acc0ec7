"""Every script of samples/ runs as its page says, with nothing but what the repository holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"
SCRIPTS = sorted([*SAMPLES.glob("0*/run.sh"), *SAMPLES.glob("0*/run.py"), *SAMPLES.glob("0*/check.py")])
QUICK = {"05_custom_pass/run.sh", "06_graphsurgeon_pass/run.sh"}  # the twins of the slower ones


def named(path: Path) -> str:
    return path.relative_to(SAMPLES).as_posix()


def script(path: Path):
    return pytest.param(path, id=named(path), marks=() if named(path) in QUICK else pytest.mark.ci)


@pytest.mark.parametrize("path", [script(path) for path in SCRIPTS])
def test_script(path, tmp_path):
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "OUT": str(tmp_path)}
    shell = ["sh"] if path.suffix == ".sh" else [sys.executable]
    done = subprocess.run([*shell, str(path)], env=environment, capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    written = [Path(line) for line in done.stdout.splitlines() if line.endswith(".onnx")]
    assert all(file.is_file() for file in written)
    assert bool(written) == (path.suffix == ".sh"), "a shell script prints the files that it makes"


def test_every_sample_has_a_page_that_names_its_scripts():
    assert {path.parent.name for path in SCRIPTS} == {path.name for path in SAMPLES.glob("0*")}
    for path in SCRIPTS:
        assert path.name in (path.parent / "README.md").read_text(encoding="utf-8")
