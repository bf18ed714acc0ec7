"""The docs keep their promises: links resolve, the example pass runs, every key of the report is documented."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

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
    file = tmp_path / "round_weights.py"
    file.write_text(blocks[0], encoding="utf-8")
    return file


def test_the_example_pass_runs_as_the_page_says(
    example: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "writing-a-pass.md").read_text(encoding="utf-8")
    command = re.search(r"^    onnxcompress (run round-weights .*)$", page, re.MULTILINE)
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
    assert finding["code"] == "ROUND-DONE"
    assert 0 < finding["numbers"]["max_abs"] <= 0.7 * 2**-7


def test_the_example_pass_conforms(example: Path) -> None:
    check_pass(load_local(f"{example}:RoundWeights")())


def test_every_key_of_the_report_is_documented() -> None:
    page = (ROOT / "docs" / "report-schema.md").read_text(encoding="utf-8")
    names = {f.name for kind in (Report, PassRecord, Finding) for f in dataclasses.fields(kind)}
    assert sorted(name for name in names if f"`{name}`" not in page) == []
