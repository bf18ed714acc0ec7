"""Run the default tests, those of PyTorch left out, with the oldest and the newest packages on every Python found.

    python tests/nightly/versions.py [--python 3.12 ...] [--end lowest|highest ...] [PYTEST ARGUMENTS]

"Lowest" pins each package to the lower bound that pyproject.toml gives for that Python. Environments are made anew in
a temporary folder, from wheels only; an interpreter that is not on PATH is named and left out. Exit code 1 when an
environment cannot be made or its tests fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "setuptools>=77")
SHOWN = ("onnx", "onnxruntime", "onnx-ir", "numpy", "ml-dtypes", "typer", "rich", "pillow", "safetensors")
TORCH = ("tests/distill", "tests/passes/test_distill_pass.py")


def main() -> None:
    """Make each environment, run the tests in it, and print a table of the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--end", action="append", choices=("lowest", "highest"))
    given, rest = parser.parse_known_args()
    outcomes = []
    for version in given.python or PYTHONS:
        for end in given.end or ("lowest", "highest"):
            outcomes.append((version, end, _outcome(version, end, rest)))
            print(f"Python {version}, {end}: {outcomes[-1][2]}", flush=True)
    print("\n| Python | packages | outcome |\n|---|---|---|")
    print("\n".join(f"| {version} | {end} | {told} |" for version, end, told in outcomes))
    sys.exit(any(told.startswith("FAILED") for _, _, told in outcomes))


def _outcome(version: str, end: str, arguments: list[str]) -> str:
    interpreter = shutil.which(f"python{version}")
    if interpreter is None or subprocess.run([interpreter, "-c", ""], check=False, capture_output=True).returncode:
        return "not run: no such interpreter here"
    with tempfile.TemporaryDirectory() as name:
        python = Path(name, "venv", "Scripts" if os.name == "nt" else "bin", "python")
        try:
            _make(interpreter, version, end, Path(name), python)
        except subprocess.CalledProcessError as error:
            print(error.stdout.decode(), error.stderr.decode())
            return "FAILED to install: see above"
        return _tests(python, arguments)


def _make(interpreter: str, version: str, end: str, folder: Path, python: Path) -> None:
    pins = folder / "pins.txt"
    pins.write_text("\n".join(_lowest(version)) if end == "lowest" else "", encoding="utf-8")
    subprocess.run([interpreter, "-m", "venv", str(folder / "venv")], check=True, capture_output=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--prefer-binary", "--constraint", str(pins)]
    subprocess.run([*install, "--editable", str(ROOT), *TOOLS], check=True, capture_output=True)


def _lowest(version: str) -> Iterator[str]:
    """``numpy==2.1`` for ``numpy>=2.1``, where its marker holds for that Python."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    here = {**default_environment(), "python_version": version}
    for requirement in map(Requirement, project["dependencies"]):
        if requirement.marker is None or requirement.marker.evaluate(here):
            (bound,) = (s.version for s in requirement.specifier if s.operator == ">=")
            yield f"{requirement.name}=={bound}"


def _tests(python: Path, arguments: list[str]) -> str:
    code = f"from importlib.metadata import version as v; print(*(n + ' ' + v(n) for n in {SHOWN!r}), sep=', ')"
    shown = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    print(shown, flush=True)
    tier = ["-m", "not data and not ci and not nightly", "-n", "auto", *(f"--ignore={path}" for path in TORCH)]
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", *tier, *arguments]
    done = subprocess.run(command, cwd=ROOT, check=False, text=True, stdout=subprocess.PIPE)
    last = done.stdout.strip().splitlines()[-1:]
    if done.returncode:
        print(done.stdout[-6000:])
    return f"{'FAILED' if done.returncode else 'passed'}: {' '.join(last)} ({shown})"


if __name__ == "__main__":
    main()
