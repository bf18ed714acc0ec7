"""Every script of samples/ runs as its page says, with nothing but what the repository holds.

What runs: run.sh of each folder, and what its page shows as `python NAME.py`. Tables (`python -m samples.NAME.table`)
have a test of their own; full_size has a make target of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from samples.results import APART

SAMPLES = Path(__file__).parents[2] / "samples"
PAGES = {page.parent.name: page.read_text(encoding="utf-8") for page in sorted(SAMPLES.glob("*/README.md"))}
SHELLS = [path for path in sorted(SAMPLES.glob("*/run.sh")) if path.parent.name not in APART]
SHOWN = [
    SAMPLES / folder / name
    for folder, page in PAGES.items()
    if folder not in APART
    for name in re.findall(r"^    python (\w+\.py)", page, re.MULTILINE)
]
QUICK = {"python_api/run.sh", "python_api/program.py"}  # the twins of the slower ones
NIGHTLY = {f"{name}/run.sh" for name in ("alexnet_pruning", "mobilenet_quantization", "resnet50_distillation")}
NIGHTLY |= {"vgg16_pruning/run.sh", "health_ecg/run.sh"}  # one to four minutes each; all others take less than one


def named(path: Path) -> str:
    return path.relative_to(SAMPLES).as_posix()


def script(path: Path):
    tier = pytest.mark.nightly if named(path) in NIGHTLY else pytest.mark.ci
    return pytest.param(path, id=named(path), marks=() if named(path) in QUICK else tier)


@pytest.mark.parametrize("path", [script(path) for path in [*SHELLS, *SHOWN]])
def test_script(path, tmp_path):
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "OUT": str(tmp_path)}
    shell = ["sh"] if path.suffix == ".sh" else [sys.executable]
    done = subprocess.run([*shell, str(path)], env=environment, capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    written = [Path(line) for line in done.stdout.splitlines() if line.endswith(".onnx")]
    assert all((path.parent / file).is_file() for file in written)
    assert bool(written) == (path.suffix == ".sh"), "a shell script prints the files that it makes"


def test_every_sample_has_a_page_that_shows_its_script():
    folders = {path.parent.name for path in SHELLS}
    assert folders == set(PAGES) - set(APART)
    shows = re.compile(r"^    sh (\S*/)?run\.sh", re.MULTILINE)
    assert [name for name in sorted(folders) if not shows.search(PAGES[name])] == []


def test_a_page_names_every_script_of_its_folder():
    mains = [path for path in SAMPLES.glob("*/*.py") if "__main__" in path.read_text(encoding="utf-8")]
    ours = [path for path in mains if path.parent.name in PAGES]
    assert ours
    unnamed = [path for path in ours if not {path.name, f"samples.{path.parent.name}.{path.stem}"} & words(path)]
    assert [named(path) for path in unnamed] == []


def words(path: Path) -> set[str]:
    return set(re.findall(r"[\w.]+", PAGES[path.parent.name]))


def test_the_list_of_samples_has_each_and_no_other():
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\) \|", text, re.MULTILINE)
    assert all(label == folder for label, folder in listed)
    assert sorted(folder for _, folder in listed) == sorted(PAGES)


def test_what_is_told_apart_by_name_is_there():
    known = {named(path) for path in [*SHELLS, *SHOWN]}
    assert known >= QUICK | NIGHTLY
