from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.command_line import CommandLine

TWO = ("--target", "openvino", "--target", "ort-x86")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "calib.npz", x=rng.normal(size=(20, 2, 4, 4)).astype(np.float32))
    return tmp_path / "calib.npz"


def test_one_file_a_target_the_same_as_one_command_each(
    cli: CommandLine, model: Path, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    outcome = cli("quantize", model, "--data", data, *TWO, "-o", folder, "--report", tmp_path / "r.json", "-q")
    paths = [folder / "model.openvino.onnx", folder / "model.ort-x86.onnx"]
    assert (outcome.code, outcome.out.splitlines()) == (0, [str(p) for p in paths])
    for path, target in zip(paths, ("openvino", "ort-x86"), strict=True):
        alone = tmp_path / f"{target}.onnx"
        assert cli("quantize", model, "--data", data, "--target", target, "-o", alone, "-q").code == 0
        assert alone.read_bytes() == path.read_bytes()
        report = json.loads((tmp_path / f"r.{target}.json").read_text(encoding="utf-8"))
        assert report["environment"]["target"] == target
    kinds = [{n.op_type for n in onnx.load(p).graph.node} for p in paths]
    assert all("QuantizeLinear" in k for k in kinds)


def test_json_is_a_list_and_without_a_folder_the_files_stand_beside_the_model(
    cli: CommandLine, model: Path, data: Path
) -> None:
    outcome = cli("quantize", model, "--data", data, *TWO, "--json", "-q")
    found = json.loads(outcome.out)
    assert [Path(entry["output"]).name for entry in found] == ["model.openvino.onnx", "model.ort-x86.onnx"]
    assert all(Path(entry["output"]).parent == model.parent for entry in found)


def test_one_target_that_fails_its_gate_fails_all(cli: CommandLine, model: Path, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    outcome = cli("quantize", model, "--data", data, *TWO, "-o", folder, "--min-sqnr", "90", "-q")
    assert outcome.code == 5 and not folder.exists()
    assert "nothing was written for any of openvino, ort-x86" in outcome.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--target", "openvino", "--target", "openvino"), ("openvino is given twice",)),
        (("--target", "openvino", "--target", "toaster"), ("unknown target 'toaster'",)),
        ((*TWO, "-o", "model.onnx"), ("several files", "file")),
        ((*TWO, "-o", "new.onnx"), ("several files", "that of a model")),
    ],
)
def test_what_is_refused(
    cli: CommandLine, model: Path, data: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], parts: tuple
) -> None:
    monkeypatch.chdir(model.parent)
    before = sorted(model.parent.iterdir())
    outcome = cli("quantize", model, "--data", data, *words)
    assert outcome.code == 2 and all(part in outcome.err for part in parts)
    assert sorted(model.parent.iterdir()) == before


def test_an_existing_file_is_refused_before_any_work_and_replaced_by_force(
    cli: CommandLine, model: Path, data: Path
) -> None:
    blocked = model.with_name("model.ort-x86.onnx")
    blocked.write_text("mine")
    outcome = cli("quantize", model, "--data", data, *TWO)
    assert outcome.code == 2 and "exists" in outcome.err and blocked.read_text() == "mine"
    assert not model.with_name("model.openvino.onnx").exists()
    assert cli("quantize", model, "--data", data, *TWO, "--force", "-q").code == 0 and blocked.read_bytes()[:1] != b"m"


def test_commands_that_write_one_file_say_so(cli: CommandLine, model: Path) -> None:
    outcome = cli("prune", model, "--ratio", "0.5", *TWO)
    assert outcome.code == 2 and "this command writes one file" in outcome.err


def test_a_recipe_may_name_several(cli: CommandLine, model: Path, data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(cli("quantize", model, "--data", data, *TWO, "--dry-run").out)
    assert 'target = ["openvino", "ort-x86"]' in recipe.read_text()
    outcome = cli("run", recipe, model, "--data", data, "-o", tmp_path / "out", "-q")
    assert len(outcome.out.splitlines()) == 2
