"""docs/quantization.md names every flag of the command's passes and every reason code of quantization."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onnxcompress.registry import describe

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "quantization.md").read_text(encoding="utf-8")
SOURCES = sorted((ROOT / "onnxcompress" / "passes" / "quantization").rglob("*.py"))


@pytest.mark.parametrize("name", ["insert-qdq", "quantize-weights", "convert-float"])
def test_every_option_of_the_command_is_documented(name: str) -> None:
    known = {"samples": "samples", "block_ops": "block-op", "per_channel": "no-per-channel"}
    flags = [known.get(option.name, option.name.replace("_", "-")) for option in describe(name).options]
    assert [flag for flag in flags if flag != "samples" and f"--{flag}" not in PAGE] == []


def test_every_reason_code_is_documented_and_none_is_invented() -> None:
    code = re.compile(r"\"((?:QUANT|LINT|HALF|QDQ)-[A-Z0-9-]+)\"")
    used = {found for path in SOURCES for found in code.findall(path.read_text(encoding="utf-8"))}
    told = set(re.findall(r"`((?:QUANT|LINT|HALF|QDQ)-[A-Z0-9-]+)`", PAGE))
    assert len(used) > 40
    assert sorted(used - told) == []
    assert sorted(told - used) == []
