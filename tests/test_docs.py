"""The docs keep their promises: links resolve, the example pass runs, every key of the report is documented."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine, write_model

from onnxcompress.registry import load_local
from onnxcompress.report import Finding, PassRecord, Report
from onnxcompress.testing import check_pass

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "samples").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The first Python block of docs/writing-a-pass.md, as a file."""
    text = (ROOT / "docs" / "writing-a-pass.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "trim_mantissas.py"
    file.write_text(blocks[0], encoding="utf-8")
    return file


def test_the_example_pass_runs_as_the_page_says(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "writing-a-pass.md").read_text(encoding="utf-8")
    command = re.search(r"^    onnxcompress (run trim-mantissas .*)$", page, re.MULTILINE)
    assert command is not None
    write_model(
        example.parent / "model.onnx",
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1,2] x) => (float[1,2] y)'
        " <float[2,2] w = {0.1, 0.2, 0.3, 0.7}> { y = MatMul(x, w) }",
    )
    monkeypatch.chdir(example.parent)
    outcome = CommandLine(capsys)(*command[1].split(), "--json")
    assert outcome.code == 0
    (finding,) = json.loads(outcome.out)["passes"][0]["findings"]
    assert finding["code"] == "TRIM-DONE"
    assert 0 < finding["numbers"]["max_abs"] <= 0.7 * 2**-7


def test_the_example_pass_conforms(example: Path) -> None:
    check_pass(load_local(f"{example}:TrimMantissas")())


def test_every_key_of_the_report_is_documented() -> None:
    page = (ROOT / "docs" / "report-schema.md").read_text(encoding="utf-8")
    names = {f.name for kind in (Report, PassRecord, Finding) for f in dataclasses.fields(kind)}
    assert sorted(name for name in names if f"`{name}`" not in page) == []


def _readme_commands() -> list[str]:
    """The onnxcompress lines of README's first screen, without their comments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    onnxcompress (.*)$", text, re.MULTILINE)
    return [line.split("#")[0].strip() for line in lines]


def _user_folder(folder: Path, model: str, data: str, key: str, name: str, count: int) -> None:
    """A folder as README's reader has it: model.onnx and calib.npz."""
    arrays = np.load(ROOT / "samples" / "data" / f"{data}.npz")
    samples = arrays[key][:count].astype(np.float32)
    np.savez(folder / "calib.npz", **{name: (samples / 255 - 0.1307) / 0.3081 if data == "mnist" else samples})
    (folder / "model.onnx").write_bytes((ROOT / "samples" / "models" / f"{model}.onnx").read_bytes())


def test_the_readmes_first_commands_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _user_folder(tmp_path, "mlp", "breast_cancer", "x_train", "features", 300)
    monkeypatch.chdir(tmp_path)
    prune, quantize, _ = _readme_commands()
    for command, output in ((prune, "model.pruned.onnx"), (quantize, "model.int8.onnx")):
        outcome = CommandLine(capsys)(*command.split())
        assert outcome.code == 0, outcome.err
        assert outcome.out == f"{tmp_path / output}\n"


@pytest.mark.ci
def test_the_readmes_auto_command_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _user_folder(tmp_path, "cnn", "mnist", "x_train", "image", 1000)
    monkeypatch.chdir(tmp_path)
    outcome = CommandLine(capsys)(*_readme_commands()[2].split())
    assert outcome.code in (0, 5), outcome.err  # the gate may close; then nothing is written
    assert (tmp_path / "small.onnx").exists() == (outcome.code == 0)
    assert (tmp_path / "report.html").exists() == (outcome.code == 0)
