"""The commands of docs/source_text.md and docs/guide.md run, in the order of their page, on a small model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("source_text", "guide")}
IN_TABLE = re.compile(r"`(onnxcompress [^`]+)`")
INDENTED = re.compile(r"^    (onnxcompress (?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)
# What keeps a test short; the pages leave these at their defaults.
QUICK = {
    "distill": ("--steps", "2", "--batch-size", "16", "--force", "--allow-unchanged", "--accept-worse"),
    "prune": ("--samples", "60", "--force"),
    "quantize": ("--samples", "60", "--force"),
    "run": ("--samples", "60", "--force"),
}
SELF_COMPRESS = ("--budget", "2s", "--force", "--allow-unchanged")
METRIC = """
def sensitivity(outputs, labels):
    return float((outputs["logits"].argmax(1)[labels == 1] == 1).mean())
"""
_COUNT = 200


def commands(name: str) -> list[list[str]]:
    """The commands of a page in its order, without comments."""
    both = re.compile(f"{INDENTED.pattern}|{IN_TABLE.pattern}", re.MULTILINE)
    found = [match[1] or match[2] for match in both.finditer(PAGES[name])]
    return [shlex.split(command.replace("\\\n", " "), comments=True)[1:] for command in found]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages' reader has it: model.onnx, train.npz and test.npz with labels, metric.py."""
    arrays = np.load(ROOT / "samples" / "data" / "mnist.npz")
    for part in ("train", "test"):
        pictures = ((arrays[f"x_{part}"][:_COUNT] / 255 - 0.1307) / 0.3081).astype(np.float32)
        labels = arrays[f"y_{part}"][:_COUNT].astype(np.int64)
        np.savez(tmp_path / f"{part}.npz", image=pictures[:, None], labels=labels)
    (tmp_path / "model.onnx").write_bytes((ROOT / "samples" / "models" / "cnn.onnx").read_bytes())
    (tmp_path / "metric.py").write_text(METRIC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["source_text", "guide"])
def test_every_command_is_understood(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of options and their values, by the recipe that --dry-run prints; nothing is computed."""
    for made in ("student", "distilled"):
        (folder / f"{made}.onnx").write_bytes((folder / "model.onnx").read_bytes())
    for command in commands(name):
        if command[0] in ("prune", "quantize", "distill", "run", "reconstruct") and "--explain" not in command:
            outcome = CommandLine(capsys)(*command, "--dry-run")
            assert outcome.code == 0, (command, outcome.err)
            assert "[[passes]]" in outcome.out, command


def quick(command: list[str]) -> list[str]:
    """The command with few samples and steps, and no gate that these could not hold."""
    if "--self-compress" in command:
        return [*command, *SELF_COMPRESS]
    told = {"--max-drop", "--budget"}
    kept = [word for i, word in enumerate(command) if not told & {word, command[i - 1]}]
    without_data = "--data" not in command
    added = [] if "--explain" in command else list(QUICK.get(command[0], ()))
    return [*kept, *(added[2:] if without_data and added[:1] == ["--samples"] else added)]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("source_text", marks=pytest.mark.nightly),  # fifty commands, some five minutes
        pytest.param("guide", marks=pytest.mark.ci),
    ],
)
def test_the_commands_run_in_the_order_of_the_page(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(commands(name)) > 8
    for command in commands(name):
        outcome = CommandLine(capsys)(*quick(command))
        assert outcome.code == (3 if command[0] == "lint" and outcome.out else 0), (command, outcome.err)


@pytest.mark.parametrize("heading", re.findall(r"^## (.*)$", PAGES["source_text"], re.MULTILINE))
def test_every_row_of_the_map_has_a_command_and_a_place(heading: str) -> None:
    section = PAGES["source_text"].split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows
    assert [row for row in rows if not (IN_TABLE.search(row) and "](" in row and row.count("|") == 5)] == []
