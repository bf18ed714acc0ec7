from __future__ import annotations

from pathlib import Path

import pytest
from builders.command_line import CommandLine, write_model


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution with a BatchNormalization behind it, in a folder of its own."""
    return write_model(tmp_path / "model.onnx")
