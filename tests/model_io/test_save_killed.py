"""A save that is killed at any moment leaves the old model or the new one, and the next save cleans up."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders.io_models import matmul

from onnxcompress.model_io import fingerprint, load, save

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL and file locks")

# Saves two models over each other until it is killed; says when it starts.
WRITER = """
import sys
from onnxcompress.model_io import load, save
one, two = load(sys.argv[1]), load(sys.argv[2])
print("ready", flush=True)
while True:
    for model in (one, two):
        save(model, sys.argv[3], force=True, external=True)
"""

SIZE = 512  # 1 MiB of weights


def _kill_once(arguments: list[str], delay: float) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(delay)
        writer.kill()


def _survives(folder: Path, kills: int, seed: int) -> None:
    models = [load(matmul(SIZE, seed=each)) for each in (1, 2)]
    sources = [str(save(model, folder / f"source{each}.onnx")) for each, model in enumerate(models)]
    out = folder / "out"
    out.mkdir()
    target = save(models[0], out / "m.onnx", external=True)
    known = {fingerprint(model) for model in models}
    draw = random.Random(seed)
    for _ in range(kills):
        _kill_once([*sources, str(target)], draw.uniform(0, 0.05))
        assert fingerprint(load(target)) in known
        save(models[0], target, force=True, external=True)
        assert len(list(out.iterdir())) == 2, "a temporary or unused file stayed behind"
        assert fingerprint(load(target)) == fingerprint(models[0])


def test_a_few_kills(tmp_path: Path) -> None:
    _survives(tmp_path, kills=4, seed=0)


@pytest.mark.ci
def test_many_kills(tmp_path: Path) -> None:
    _survives(tmp_path, kills=60, seed=1)


@pytest.mark.nightly
def test_five_hundred_kills(tmp_path: Path) -> None:
    _survives(tmp_path, kills=500, seed=2)


def test_writers_side_by_side_leave_one_whole_model(tmp_path: Path) -> None:
    models = [load(matmul(SIZE, seed=each)) for each in (1, 2)]
    sources = [str(save(model, tmp_path / f"source{each}.onnx")) for each, model in enumerate(models)]
    out = tmp_path / "out"
    out.mkdir()
    once = WRITER.replace("while True:", "for _ in range(6):")
    command = [sys.executable, "-c", once, *sources, str(out / "m.onnx")]
    writers = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    known = {fingerprint(model) for model in models}
    while any(writer.poll() is None for writer in writers):
        if (out / "m.onnx").exists():
            assert fingerprint(load(out / "m.onnx")) in known
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(list(out.iterdir())) == 2
    assert fingerprint(load(out / "m.onnx")) in known
