from __future__ import annotations

import json
from pathlib import Path

from builders.command_line import CommandLine


def test_the_text_tells_costs_operators_and_layers(cli: CommandLine, model: Path) -> None:
    outcome = cli("inspect", model)
    assert (outcome.code, outcome.err) == (0, "")
    for part in (
        "multiply-adds  64",
        "ai.onnx 21",
        "x  float  N x 2 x 4 x 4",
        "Conv 1",
        "100.0 %  Conv  conv",
        "quantization   none",
    ):
        assert part in outcome.out


def test_nodes_lists_names_for_only_and_exclude(cli: CommandLine, model: Path) -> None:
    assert cli("inspect", model, "--nodes").out.split() == ["conv", "norm", "act"]


def test_top_limits_the_layers(cli: CommandLine, model: Path) -> None:
    assert "most" not in cli("inspect", model, "--top", "0").out


def test_json(cli: CommandLine, model: Path) -> None:
    found = json.loads(cli("inspect", model, "--json", "--shape", "x:1x2x4x4").out)
    assert found["schema"] == "onnxcompress.inspection/1"
    assert found["costs"]["macs"] == 64
    assert found["names"] == ["conv", "norm", "act"]
