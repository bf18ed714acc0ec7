"""Bad models and bad data: one paragraph that says what, where, why and what to do; the exit code; nothing written."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.command_line import CommandLine, Outcome

SHAPE = (12, 2, 4, 4)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "text")


def _torch_file(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", "")


def _changed(change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)

    return damage


def _foreign(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.acme"
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))


def _future(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def _shapeless(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.ClearField("shape")


MODELS = {
    "missing": (lambda path: path.unlink(), ("no file", "Check the path")),
    "empty": (_empty, ("0 bytes", "again")),
    "truncated": (_truncated, ("truncated", "again")),
    "zip": (_zipped, ("a zip archive", "Unpack it")),
    "torch": (_torch_file, ("a PyTorch file", "torch.onnx.export")),
    "future": (_changed(_future), ("version 99", "or older")),
    "foreign": (_changed(_foreign), ("com.acme:Conv", "--custom-ops")),
    "shapeless": (_changed(_shapeless), ("input x", "declares no shape", "--shape x:")),
}


def _check(outcome: Outcome, code: int, parts: tuple[str, ...], folder: Path) -> None:
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1
    assert all(part in outcome.err for part in parts), outcome.err
    assert not (folder / "model.compressed.onnx").exists()


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(cli: CommandLine, model: Path, case: str) -> None:
    damage, parts = MODELS[case]
    damage(model)
    _check(cli("run", "fold-batchnorm", model), 3, parts, model.parent)


GOOD = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
WITH_NAN = np.where(np.arange(12).reshape(12, 1, 1, 1) == 3, np.nan, GOOD).astype(np.float32)
DATA = {
    "wrong name": ({"a": GOOD, "b": GOOD}, ("input 'x'", "a, b", "--map x=")),
    "wrong size": ({"x": GOOD[:, :1]}, ("1 x 4 x 4", "2 x 4 x 4")),
    "wrong rank": ({"x": GOOD[:, :, 0]}, ("2 x 4", "2 x 4 x 4")),
    "text": ({"x": GOOD.astype("U5")}, ("input 'x'", "float32")),
    "nan": ({"x": WITH_NAN}, ("NaN", "sample")),
    "no samples": ({"x": GOOD[:0]}, ("0 samples",)),
    "objects": ({"x": np.array([1, "a", None], dtype=object)}, ("Python objects", "np.savez")),
}


@pytest.mark.parametrize("case", DATA)
def test_bad_data(cli: CommandLine, model: Path, case: str) -> None:
    arrays, parts = DATA[case]
    samples = model.with_name("samples.npz")
    np.savez(samples, **arrays)
    _check(cli("run", "fold-batchnorm", model, "--data", samples), 4, parts, model.parent)


def test_missing_and_damaged_data_files(cli: CommandLine, model: Path) -> None:
    samples = model.with_name("samples.npz")
    _check(cli("run", "fold-batchnorm", model, "--data", samples), 4, ("no such file",), model.parent)
    np.savez(samples, x=GOOD)
    samples.write_bytes(samples.read_bytes()[:300])
    _check(cli("run", "fold-batchnorm", model, "--data", samples), 4, ("not a complete npz",), model.parent)
