"""The default command gives one file, whatever the order of the samples and the number of threads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from builders.command_line import CommandLine
from onnx import numpy_helper

TEXT = """<ir_version: 10, opset_import: ["": 21]>
g (float[N,3,16,16] image) => (float[N,10] logits) {
  c1 = Conv<pads=[1,1,1,1]>(image, w1)  r1 = Relu(c1)
  c2 = Conv<pads=[1,1,1,1]>(r1, w2)  a = Add(c2, r1)  r2 = Relu(a)
  c3 = Conv<pads=[1,1,1,1], group=16>(r2, w3)  s = Sigmoid(c3)  m = Mul(c3, s)
  p = GlobalAveragePool(m)  f = Flatten(p)  logits = Gemm<transB=1>(f, w4) }"""
SIZES = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 1, 3, 3), "w4": (10, 16)}
SAMPLES = 45


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    rng = np.random.default_rng(3)
    made = tmp_path_factory.mktemp("same")
    proto = onnx.parser.parse_model(TEXT)
    for name, size in SIZES.items():
        array = (rng.normal(size=size) * 0.4).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(proto, made / "model.onnx")
    return made


def written(folder: Path, command: CommandLine, name: str, order: np.ndarray, *words: str) -> str:
    """SHA-256 of the file that the command writes for the samples in `order`."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(SAMPLES, 3, 16, 16)).astype(np.float32) * rng.uniform(0.5, 2, (SAMPLES, 1, 1, 1))
    y = rng.integers(0, 10, SAMPLES)
    np.savez(folder / f"{name}.npz", image=x[order].astype(np.float32), labels=y[order])
    output = folder / f"{name}.onnx"
    outcome = command("quantize", folder / "model.onnx", "--data", folder / f"{name}.npz", "-o", output, *words)
    assert outcome.code == 0, outcome.err
    return hashlib.sha256(output.read_bytes()).hexdigest()


@pytest.fixture
def command(capsys) -> CommandLine:
    return CommandLine(capsys)


def test_order_and_threads_do_not_show(folder, command):
    order = np.arange(SAMPLES)
    shas = {
        written(folder, command, "one", order, "--threads", "1"),
        written(folder, command, "two", order[::-1], "--threads", "2"),
        written(folder, command, "three", np.random.default_rng(0).permutation(SAMPLES)),
    }
    assert len(shas) == 1


def test_a_choice_of_samples_does_not_depend_on_their_order(folder, command):
    order = np.random.default_rng(1).permutation(SAMPLES)
    shas = {
        written(folder, command, "some", np.arange(SAMPLES), "--samples", "20", "--seed", "3"),
        written(folder, command, "same", order, "--samples", "20", "--seed", "3"),
    }
    assert len(shas) == 1


def test_the_cache_and_another_calibrator(folder, command, tmp_path):
    order = np.arange(SAMPLES)
    plain = written(folder, command, "plain", order, "--cache", "off")
    caches = set()
    for name, given in (("first", order), ("second", order[::-1])):
        kept = tmp_path / name
        assert written(folder, command, name, given, "--cache", str(kept)) == plain
        assert written(folder, command, f"{name}-again", given, "--cache", str(kept)) == plain
        (file,) = kept.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        caches.add((file.name, hashlib.sha256(file.read_bytes()).hexdigest()))
        kl = written(folder, command, f"{name}-kl", given, "--cache", str(kept), "--calibrator", "kl")
        assert kl == written(folder, command, f"{name}-bare", given, "--cache", "off", "--calibrator", "kl")
    assert len(caches) == 1


@pytest.mark.ci
def test_processes_give_the_same_file(folder, command):
    order = np.arange(SAMPLES)
    shas = {
        written(folder, command, f"w{n}", order, "--cache", "off", *(("--workers", str(n)) if n else ()))
        for n in (0, 1, 2)
    }
    assert len(shas) == 1


@pytest.mark.ci
def test_twenty_runs_give_one_file(folder, command):
    shas = set()
    for run in range(20):
        order = np.random.default_rng(run).permutation(SAMPLES)
        shas.add(written(folder, command, f"run{run}", order, "--threads", str(run % 4)))
    assert len(shas) == 1
