"""docs/distillation.md: its commands run, in their order; it names every option of the pass and every finding."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from builders.command_line import CommandLine

from onnxcompress.registry import describe

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "distillation.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "onnxcompress" / "distill").rglob("*.py"))
COMMANDS = [line.split() for line in re.findall(r"^    onnxcompress (.*)$", PAGE, re.MULTILINE)]
# What keeps a test short; the page leaves these at their defaults or gives them time.
QUICK = {
    "distill": ("--steps", "2", "--batch-size", "16", "--force", "--allow-unchanged"),
    "prune": ("--samples", "40"),
}
_COUNT = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the page's reader has it: model.onnx, train.npz without labels, test.npz with them."""
    arrays = np.load(ROOT / "samples" / "data" / "mnist.npz")
    train, test = (((arrays[key][:_COUNT] / 255 - 0.1307) / 0.3081).astype(np.float32) for key in ("x_train", "x_test"))
    np.savez(tmp_path / "train.npz", image=train[:, None])
    np.savez(tmp_path / "test.npz", image=test[:, None], labels=arrays["y_test"][:_COUNT].astype(np.int64))
    (tmp_path / "model.onnx").write_bytes((ROOT / "samples" / "models" / "cnn.onnx").read_bytes())
    return tmp_path


def _quick(command: list[str]) -> list[str]:
    """The command with a few steps in place of its time."""
    if "--self-compress" in command:
        return [*command, "--force", "--allow-unchanged", "--budget", "2s"]
    short = [word for i, word in enumerate(command) if "--budget" not in (word, command[i - 1])]
    return [*short, *QUICK.get(command[0], ("--samples", "40"))]


@pytest.mark.ci
def test_the_commands_run_in_the_order_of_the_page(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        outcome = CommandLine(capsys)(*_quick(command))
        assert outcome.code == 0, (command, outcome.err)
        assert Path(command[command.index("-o") + 1]).exists(), command


@pytest.mark.parametrize("name", ["distill"])
def test_every_option_of_the_pass_is_documented(name: str) -> None:
    flags = [option.name.replace("_", "-") for option in describe(name).options]
    assert len(flags) > 10
    assert [flag for flag in flags if f"--{flag}" not in PAGE] == []


def test_every_finding_is_documented_and_none_is_invented() -> None:
    code = re.compile(r"\"(DISTILL-[A-Z0-9-]+)\"")
    used = {found for path in SOURCES for found in code.findall(path.read_text(encoding="utf-8"))}
    told = set(re.findall(r"`(DISTILL-[A-Z0-9-]+)`", PAGE))
    assert len(used) > 8
    assert sorted(used - told) == []
    assert sorted(told - used) == []
