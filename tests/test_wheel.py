"""The wheel holds everything, and README's commands run from it outside the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "onnxcompress"
SAMPLES = ROOT / "samples"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def files_of_package() -> set[str]:
    """Every file that users must get, by its path from the root."""
    files = (p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix != ".pyc" and not p.name.startswith("."))
    return {p.relative_to(ROOT).as_posix() for p in files}


def test_each_file_is_declared():
    """A module needs an __init__.py beside it, any other file a pattern in pyproject.toml."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "package-data"
    ]
    data = {p.relative_to(ROOT).as_posix() for pattern in declared["onnxcompress"] for p in PACKAGE.glob(pattern)}
    others = {name for name in files_of_package() if not name.endswith(".py")}
    assert others == data
    assert {
        name for name in files_of_package() - others if not (ROOT / name).with_name("__init__.py").exists()
    } == set()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what an sdist would hold, and installed without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(PACKAGE, source / "onnxcompress", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    offline = ["--quiet", "--no-deps", "--no-index"]
    build = [*PIP, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("onnxcompress-*-py3-none-any.whl")
    subprocess.run([*PIP, "install", *offline, "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def run(site: Path, folder: Path, *words: str) -> str:
    """Standard output of a command that finds the package in `site` only, started in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "ONNXCOMPRESS_NO_PLUGINS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.ci
def test_nothing_is_left_out(installed: Path):
    present = {p.relative_to(installed).as_posix() for p in (installed / "onnxcompress").rglob("*") if p.is_file()}
    assert {name for name in present if not name.endswith(".pyc")} == files_of_package()
    assert list(installed.glob("onnxcompress-*.dist-info/licenses/LICENSE"))
    assert {p.name for p in installed.iterdir() if "." not in p.name} == {
        "bin" if os.name == "posix" else "Scripts",
        "onnxcompress",
    }


@pytest.mark.ci
def test_readmes_commands_run_outside_the_checkout(installed: Path, tmp_path: Path):
    shutil.copy(SAMPLES / "models" / "mlp.onnx", tmp_path / "model.onnx")
    with np.load(SAMPLES / "data" / "breast_cancer.npz") as arrays:
        rows = np.concatenate([arrays["x_train"], arrays["x_test"]])  # a fifth of them resolves one point
    np.savez(tmp_path / "calib.npz", features=rows.astype(np.float32))
    where = run(installed, tmp_path, sys.executable, "-c", "import onnxcompress; print(onnxcompress.__file__)")
    assert Path(where.strip()) == installed / "onnxcompress" / "__init__.py"
    script = shutil.which("onnxcompress", path=f"{installed / 'bin'}{os.pathsep}{installed / 'Scripts'}")
    assert script is not None
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line.split("#")[0].split() for line in re.findall(r"^    onnxcompress (.*)$", readme, re.MULTILINE)]
    written = [run(installed, tmp_path, script, *words) for words in commands]
    assert [Path(line.strip()).name for line in written] == ["model.pruned.onnx", "model.int8.onnx", "small.onnx"]
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")
    targets = run(installed, tmp_path, script, "targets")
    assert {"ort-cpu", "ort-x86", "tensorrt"} < {line.split()[0] for line in targets.splitlines()}
